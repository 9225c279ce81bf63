"""DuckDB's side of the TPC-H comparison: native tables, best of N runs per query.

Reads from standard input {"parquet": DIR, "threads": N, "runs": N, "tables": [...], "queries": [...]} and prints
{"version", "load_s", "queries": [{"ms", "rows"}]} with every value as text.
"""

import json
import sys
import time

import duckdb


def main() -> None:
    job = json.load(sys.stdin)
    connection = duckdb.connect()
    connection.execute(f"SET threads = {job['threads']}")
    started = time.perf_counter()
    for table in job["tables"]:
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{job['parquet']}/{table}/*.parquet')")
    load_s = time.perf_counter() - started
    results = []
    for query in job["queries"]:
        best_ms, rows = float("inf"), []
        for _ in range(job["runs"]):
            started = time.perf_counter()
            rows = connection.execute(query).fetchall()
            best_ms = min(best_ms, (time.perf_counter() - started) * 1000)
        text = [[None if value is None else str(value) for value in row] for row in rows]
        results.append({"ms": best_ms, "rows": text})
    json.dump({"version": duckdb.__version__, "load_s": load_s, "queries": results}, sys.stdout)


main()
