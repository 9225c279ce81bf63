"""TPC-DS: the 99 queries, answered by Slipher and by DuckDB over the same rows.

The rows and the texts of the queries (the TPC's templates with values put in) come from DuckDB's extension `tpcds`, as PyPI's
`duckdb-extension-tpcds` ships it. In Redshift's dialect AVG keeps its argument's type, so the texts for Slipher average
DOUBLE PRECISION; everything else stands as in the templates.

usage: tpcds.py HOST PORT USER PASSWORD LOAD-DIR [SCALE]
"""

import glob
import os
import re
import sys
import time

import duckdb
import duckdb_extension_tpcds

import engines
from answers import difference, table
from kinds import Type
from tpcds_values import DATA, REPLACED, REPLACED_AT_1

# Tables whose rows lie on all nodes, and the keys of those that are spread; the others are spread evenly.
KEYS = {
    "store_sales": "ss_item_sk", "store_returns": "sr_item_sk", "catalog_sales": "cs_item_sk", "catalog_returns": "cr_item_sk",
    "web_sales": "ws_item_sk", "web_returns": "wr_item_sk", "inventory": "inv_item_sk", "item": "i_item_sk",
    "customer": "c_customer_sk", "customer_address": "ca_address_sk",
}
SMALL = ("store", "warehouse", "promotion", "reason", "ship_mode", "income_band", "call_center", "web_site", "web_page", "household_demographics")
SMALL_SCALE = 0.01
STATEMENT_MAX_SECONDS = 300

EXACT = Type("dec", "dec", None)
# Quotients and averages: Redshift cuts decimals off where DuckDB has floats.
RATIO = Type("ratio", "ratio", None)
DAY = Type("date", "date", None)
# CHAR's blanks mean nothing.
WORDS = Type("blk", "blk", None)


def source(scale):
    """DuckDB with the tables, and the texts of the queries."""
    directory = os.path.dirname(duckdb_extension_tpcds.__file__)
    extension = glob.glob(f"{directory}/extensions/**/*.duckdb_extension", recursive=True)[0]
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute("SET default_null_order='nulls_last_on_asc_first_on_desc'")
    connection.execute(f"CALL dsdgen(sf={scale})")
    queries = dict(connection.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall())
    queries = {number: re.sub(r"\s+", " ", re.sub("--.*", "", text)).strip(" ;") for number, text in queries.items()}
    if scale == SMALL_SCALE:
        for statement in DATA:
            connection.execute(statement)
    for number, pairs in (REPLACED if scale == SMALL_SCALE else REPLACED_AT_1).items():
        for old, new in pairs:
            assert old in queries[number], (number, old)
            queries[number] = queries[number].replace(old, new)
    return connection, queries


def load(connection, slipher, load_dir):
    """Brings all tables to Slipher, by way of Parquet files."""
    slipher.run("DROP SCHEMA IF EXISTS tpcds CASCADE")
    slipher.run("CREATE SCHEMA tpcds")
    slipher.set_up("SET search_path TO tpcds", f"SET statement_timeout TO {STATEMENT_MAX_SECONDS * 1000}")
    for (name,) in connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall():
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ? ORDER BY ordinal_position", [name]).fetchall()
        declared = ", ".join(f"{column} {'varchar(256)' if type == 'VARCHAR' else type}" for column, type in columns)
        style = f"DISTKEY({KEYS[name]})" if name in KEYS else "DISTSTYLE ALL" if name in SMALL else "DISTSTYLE EVEN"
        slipher.run(f"CREATE TABLE {name} ({declared}) {style}")
        path = os.path.join(load_dir, f"tpcds_{name}.parquet")
        connection.execute(f"COPY {name} TO '{path}' (FORMAT parquet)")
        slipher.run(f"COPY {name} FROM '{path}' FORMAT PARQUET")
        os.unlink(path)


def in_redshift(text):
    """The query with averages of DOUBLE PRECISION."""
    written, rest = "", text
    while match := re.search(r"\bavg\s*\(", rest, re.I):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(rest[end], 0)
            end += 1
        written += rest[: match.start()] + f"avg(({in_redshift(rest[match.end():end - 1])})::float8)"
        rest = rest[end:]
    return written + rest


def kind_of(column):
    name = str(column[1])
    if name in ("DOUBLE", "FLOAT"):
        return RATIO
    if name == "DATE":
        return DAY
    return WORDS if name in ("VARCHAR", "STRING") else EXACT


def check(number, text, connection, slipher):
    """(what is wrong or None, rows, seconds). Without its LIMIT, so that no rows of equal rank may be left out; then with it."""
    whole = re.sub(r"\s+LIMIT \d+\s*$", "", text)
    cursor = connection.execute(whole)
    types = [kind_of(column) for column in cursor.description]
    expected = [tuple(engines.as_text(value) for value in row) for row in cursor.fetchall()]
    began = time.monotonic()
    try:
        actual = slipher.ask(in_redshift(whole))
        limited = len(slipher.ask(in_redshift(text))) if whole != text else None
    except engines.Refused as error:
        return f"{error}", len(expected), time.monotonic() - began
    seconds = time.monotonic() - began
    if not expected or all(value in (None, "0") for row in expected for value in row):
        return "the answer is empty: other values are needed", len(expected), seconds
    words = difference(expected, actual, types, False)
    if words:
        words += f"\nDuckDB:\n{table(sorted(expected, key=str))}\nSlipher:\n{table(sorted(actual, key=str))}"
    elif limited is not None and limited != min(len(expected), int(re.search(r"(\d+)\s*$", text).group(1))):
        words = f"{limited} rows with LIMIT"
    return words, len(expected), seconds


def main():
    host, port, user, password, load_dir = sys.argv[1:6]
    scale = float(sys.argv[6]) if len(sys.argv) > 6 else SMALL_SCALE
    chosen = [int(number) for number in os.environ.get("SLIPHER_TPCDS_QUERIES", "").split(",") if number]
    connection, queries = source(scale)
    slipher = engines.slipher("Slipher", host, port, password, user)
    load(connection, slipher, load_dir)
    failed, passed, total = [], 0, 0.0
    for number in chosen or sorted(queries):
        words, rows, seconds = check(number, queries[number], connection, slipher)
        total += seconds
        print(f"query {number:>2}: {rows:>5} rows, {seconds:6.2f} s, {'as DuckDB answers' if words is None else 'WRONG: ' + words}", flush=True)
        if words is None:
            passed += 1
        else:
            failed.append(number)
    print(f"TPC-DS at scale factor {scale:g}: {passed} of {passed + len(failed)} queries, {total:.0f} s" + (f"; not {failed}" if failed else ""))
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
