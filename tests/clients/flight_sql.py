"""The ADBC Flight SQL driver against a running Slipher.

    pip install adbc-driver-flightsql adbc-driver-manager pyarrow
    python flight_sql.py HOST PORT USER PASSWORD

Prints one line for each check and `N passed, M failed`; the exit code is 0 only when none failed.
Tables it makes have a random suffix and are dropped at the end.
"""

import datetime
import decimal
import secrets
import sys

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import checks
import pyarrow as pa
from checks import check, expect


class Target:
    """Where the server is, and names of this run's tables."""

    def __init__(self, host, port, user, password):
        self.uri = f"grpc://{host}:{port}"
        self.user = user
        self.password = password
        self.suffix = secrets.token_hex(4)
        self.tables = []

    def connect(self, password=None, autocommit=True):
        options = {"username": self.user, "password": password or self.password}
        return flight_sql.connect(self.uri, db_kwargs=options, autocommit=autocommit)

    def table(self, name):
        table = f"adbc_{name}_{self.suffix}"
        self.tables.append(table)
        return table


def run(connection, sql, parameters=None):
    """Runs a statement and answers its rows as tuples."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def expect_error(action, *parts):
    """Runs `action`, which must raise an ADBC error whose text has every part."""
    try:
        action()
    except adbc_driver_manager.Error as error:
        text = str(error)
        missing = [part for part in parts if part not in text]
        assert not missing, f"{missing} not in {text!r}"
        return error
    raise AssertionError("no error was raised")


@check
def wrong_password(target):
    """a wrong password is refused with 28P01"""
    expect_error(lambda: target.connect(password="certainly wrong").close(), "28P01")


@check
def simple_query(target):
    """a query gives typed rows"""
    with target.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 AS i, CAST(1.50 AS DECIMAL(10, 2)) AS d, 'é' AS t, DATE '2024-02-29' AS day, CAST(NULL AS VARCHAR) AS n"
        )
        table = cursor.fetch_arrow_table()
        expect(table.column_names, ["i", "d", "t", "day", "n"])
        expect(table.schema.field("t").type, pa.string())
        row = [column[0].as_py() for column in table.columns]
        expect(row, [1, decimal.Decimal("1.50"), "é", datetime.date(2024, 2, 29), None])


@check
def statements_without_rows(target):
    """DDL and DML through execute run once and report their rows"""
    table = target.table("ddl")
    with target.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {table} (a BIGINT, t VARCHAR(20))")
            cursor.execute(f"INSERT INTO {table} VALUES (1, 'x'), (2, NULL), (3, 'z')")
            expect(cursor.rowcount, 3)
        expect(run(connection, f"SELECT a, t FROM {table} ORDER BY a"), [(1, "x"), (2, None), (3, "z")])


@check
def prepared_statements(target):
    """parameters are bound, for queries and for executemany"""
    table = target.table("prepared")
    with target.connect() as connection:
        run(connection, f"CREATE TABLE {table} (a BIGINT, t VARCHAR(20), d DOUBLE PRECISION)")
        with connection.cursor() as cursor:
            rows = [(1, "one", 1.5), (2, "two", None), (3, None, -0.25)]
            cursor.executemany(f"INSERT INTO {table} VALUES ($1, $2, $3)", rows)
        expect(run(connection, f"SELECT * FROM {table} ORDER BY a"), rows)
        expect(run(connection, f"SELECT t FROM {table} WHERE a = $1", (2,)), [("two",)])
        expect(run(connection, f"SELECT a FROM {table} WHERE t = $1", ("one",)), [(1,)])
        # The value decides the type: 2.5 must not be narrowed to the column's BIGINT.
        expect(run(connection, f"SELECT a FROM {table} WHERE a > $1", (2.5,)), [(3,)])
        with connection.cursor() as cursor:
            schema = cursor.adbc_prepare(f"SELECT a FROM {table} WHERE a = $1")
            expect(schema.field(0).type, pa.int64())
        wrong = lambda: run(connection, f"SELECT a FROM {table} WHERE a = $1", (1, 2))
        expect_error(wrong, "08P01")


@check
def ingest(target):
    """adbc_ingest creates, appends, replaces, and refuses to create twice"""
    table = target.table("ingest")
    day = [datetime.date(2024, 1, 1), None, datetime.date(1969, 12, 31)]
    data = pa.table({
        "id": pa.array([1, 2, 3], pa.int64()),
        "name": pa.array(["a", None, "ü"], pa.large_string()),
        "price": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3.00")], pa.decimal128(12, 2)),
        "day": pa.array(day, pa.date32()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    })
    with target.connect() as connection, connection.cursor() as cursor:
        expect(cursor.adbc_ingest(table, data, mode="create"), 3)
        expect(cursor.adbc_ingest(table, data, mode="append"), 3)
        expect(run(connection, f"SELECT count(*), min(day), count(price) FROM {table}"), [(6, day[2], 4)])
        expect(run(connection, f"SELECT name, kind FROM {table} WHERE id = 3"), [("ü", "x")] * 2)
        expect_error(lambda: cursor.adbc_ingest(table, data, mode="create"), "42P07")
        expect(cursor.adbc_ingest(table, data.slice(0, 1), mode="replace"), 1)
        expect(run(connection, f"SELECT count(*) FROM {table}"), [(1,)])
        expect_error(lambda: cursor.adbc_ingest(table + "_missing", data, mode="append"), "42P01")


@check
def many_rows(target):
    """a large result arrives complete, in batches"""
    table = target.table("many")
    count = 300_000
    data = pa.table({"n": pa.array(range(count), pa.int64()), "t": pa.array(["some text"] * count)})
    with target.connect() as connection, connection.cursor() as cursor:
        batches = pa.RecordBatchReader.from_batches(data.schema, data.to_batches(max_chunksize=10_000))
        expect(cursor.adbc_ingest(table, batches, mode="create"), count)
        cursor.execute(f"SELECT n, t FROM {table}")
        reader = cursor.fetch_record_batch()
        rows, total = 0, 0
        for batch in reader:
            rows += batch.num_rows
            total += sum(batch.column(0).to_pylist())
        expect((rows, total), (count, count * (count - 1) // 2))
        # A result that is not read to its end does not stand in the way of the next one.
        cursor.execute(f"SELECT n, t FROM {table}")
        cursor.fetchone()
        cursor.execute("SELECT 7 AS n")
        expect(cursor.fetchall(), [(7,)])


@check
def metadata(target):
    """get_objects, get_table_schema, get_table_types and get_info answer"""
    table = target.table("metadata")
    with target.connect() as connection:
        run(connection, f"CREATE TABLE {table} (a BIGINT, t VARCHAR(20), p DECIMAL(12, 2))")
        schema = connection.adbc_get_table_schema(table, db_schema_filter="public")
        expect([(field.name, field.type) for field in schema],
                     [("a", pa.int64()), ("t", pa.string()), ("p", pa.decimal128(12, 2))])
        objects = connection.adbc_get_objects(depth="all", db_schema_filter="public", table_name_filter=table)
        catalogs = objects.read_all().to_pylist()
        found = [
            (catalog["catalog_name"], db_schema["db_schema_name"], [c["column_name"] for c in listed["table_columns"]])
            for catalog in catalogs
            for db_schema in catalog["catalog_db_schemas"]
            for listed in db_schema["db_schema_tables"]
        ]
        expect(found, [("dev", "public", ["a", "t", "p"])])
        assert "TABLE" in connection.adbc_get_table_types()
        expect(connection.adbc_get_info()["vendor_name"], "Slipher")
        missing = lambda: connection.adbc_get_table_schema(table + "_missing", db_schema_filter="public")
        expect_error(missing)


@check
def result_schema(target):
    """the schema of a result is known without running it"""
    with target.connect() as connection, connection.cursor() as cursor:
        schema = cursor.adbc_execute_schema("SELECT CAST(1 AS BIGINT) AS a, 'x' AS t")
        expect([field.type for field in schema], [pa.int64(), pa.string()])


@check
def session_options(target):
    """the session tells its database and schema"""
    with target.connect() as connection:
        expect(connection.adbc_current_catalog, "dev")
        expect(connection.adbc_current_db_schema, "public")


@check
def errors(target):
    """errors carry the message and the SQLSTATE, and the session goes on"""
    with target.connect() as connection:
        expect_error(lambda: run(connection, "SELECT * FROM there_is_no_such_table"), "does not exist", "42P01")
        expect_error(lambda: run(connection, "SELECT 1; SELECT 2"), "42601")
        expect(run(connection, "SELECT 1"), [(1,)])


@check
def transactions(target):
    """with autocommit off, a committed change stays"""
    table = target.table("transaction")
    with target.connect(autocommit=False) as connection:
        run(connection, f"CREATE TABLE {table} (a BIGINT)")
        run(connection, f"INSERT INTO {table} VALUES (1)")
        connection.commit()
    with target.connect() as connection:
        expect(run(connection, f"SELECT a FROM {table}"), [(1,)])


@check
def drop_tables(target):
    """the tables of this run are dropped"""
    with target.connect() as connection:
        for table in target.tables:
            run(connection, f"DROP TABLE IF EXISTS {table}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(checks.run(Target(*sys.argv[1:])))
