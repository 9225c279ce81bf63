"""Fetches many rows of lineitem over Flight SQL and over the PostgreSQL wire, and watches the leader's memory meanwhile."""

import itertools
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow
import slipher
from common import PASSWORD, ddl, parquet_files, plain_batches
from memory import status_kib

COLUMNS = "l_orderkey, l_partkey, l_quantity, l_extendedprice, l_shipdate, l_shipmode"
BATCH = 10_000
# The driver sends no message above 16 MiB; a row of lineitem has some 200 bytes in Arrow.
INGEST_BATCH = 16_384


def statement(leader, rows):
    """Lineitem as often as it takes for the rows, or some more: a limit would bring all of them through the leader."""
    connection = slipher.connect(leader.ports["pg"])
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from lineitem")
        times = -(-rows // cursor.fetchone()[0])
    connection.close()
    return " union all ".join([f"select {COLUMNS} from lineitem"] * times)


class Watch:
    """The largest resident memory of a process while the block runs."""

    def __init__(self, pid):
        self.pid, self.ended = pid, threading.Event()

    def __enter__(self):
        self.before = self.peak = status_kib(self.pid, "VmRSS")
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()
        return self

    def follow(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, status_kib(self.pid, "VmRSS"))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def flight(leader, rows):
    sql = statement(leader, rows)
    options = {"username": "admin", "password": PASSWORD}
    with flight_sql.connect(f"grpc://127.0.0.1:{leader.ports['flight']}", db_kwargs=options, autocommit=True) as connection:
        with Watch(leader.pid) as watch, connection.cursor() as cursor:
            started = time.perf_counter()
            cursor.execute(sql)
            reader = cursor.fetch_record_batch()
            first, found = None, 0
            for batch in reader:
                first = first or time.perf_counter() - started
                found += batch.num_rows
            seconds = time.perf_counter() - started
    return result("Flight SQL (ADBC), Arrow batches", found, seconds, first, watch)


def wire(leader, rows):
    """All rows by one execute: the whole answer lies in the client as text before Python sees a row."""
    sql = statement(leader, rows)
    connection = slipher.connect(leader.ports["pg"])
    with Watch(leader.pid) as watch, connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(sql)
        seconds = time.perf_counter() - started
        found = cursor.rowcount
    connection.close()
    return result("PostgreSQL wire (psycopg2), up to the last byte", found, seconds, None, watch)


def wire_values(leader, rows):
    """The same with every value made a Python object."""
    sql = statement(leader, rows)
    connection = slipher.connect(leader.ports["pg"])
    with Watch(leader.pid) as watch, connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(sql)
        found = 0
        while batch := cursor.fetchmany(BATCH):
            found += len(batch)
        seconds = time.perf_counter() - started
    connection.close()
    return result("PostgreSQL wire (psycopg2), as Python values", found, seconds, None, watch)


def wire_cursor(leader, rows):
    """A server-side cursor, which psycopg2 opens in a transaction with DECLARE."""
    sql = statement(leader, rows)
    connection = slipher.connect(leader.ports["pg"])
    connection.autocommit = False
    with Watch(leader.pid) as watch, connection.cursor(name="many") as cursor:
        cursor.itersize = BATCH
        started = time.perf_counter()
        cursor.execute(sql)
        first, found = None, 0
        while batch := cursor.fetchmany(BATCH):
            first = first or time.perf_counter() - started
            found += len(batch)
        seconds = time.perf_counter() - started
    connection.close()
    return result("PostgreSQL wire, server-side cursor, as Python values", found, seconds, first, watch)


def ingest(leader, parquet):
    """Lineitem into an empty table by ADBC's bulk ingestion: the client reads the Parquet files and sends Arrow batches."""
    connection = slipher.connect(leader.ports["pg"])
    connection.cursor().execute(ddl("lineitem").replace("TABLE lineitem", "TABLE lineitem_sent"))
    connection.close()
    batches = plain_batches(parquet_files(parquet, "lineitem"), INGEST_BATCH)
    first = next(batches)
    reader = pyarrow.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
    options = {"username": "admin", "password": PASSWORD}
    with flight_sql.connect(f"grpc://127.0.0.1:{leader.ports['flight']}", db_kwargs=options, autocommit=True) as connection:
        with Watch(leader.pid) as watch, connection.cursor() as cursor:
            started = time.perf_counter()
            found = cursor.adbc_ingest("lineitem_sent", reader, mode="append")
            seconds = time.perf_counter() - started
            cursor.execute("drop table lineitem_sent")
    return result("ingest over Flight SQL (ADBC), from Parquet", found, seconds, None, watch)


def result(what, rows, seconds, first, watch):
    return {
        "what": what,
        "rows": rows,
        "seconds": seconds,
        "first_batch_seconds": first,
        "leader_before_mib": watch.before / 1024,
        "leader_peak_mib": watch.peak / 1024,
    }


HOW = [flight, wire, wire_values, wire_cursor]
