"""Changes of TPC-H tables in a running Slipher: how long commits, DELETE, UPDATE, MERGE take, and what readers notice of VACUUM.

    pip install psycopg2-binary
    slipher local --data-dir DIR --admin-password PASSWORD --pg-port PORT
    python3 benches/dml.py PORT PASSWORD [SCALE]

Prints Markdown for docs/benchmarks.md. The tables are made anew in the schema `dml`.
"""

import statistics
import sys
import threading
import time

import psycopg2

SINGLE_ROWS = 200
SINGLE_CLIENTS = 16
SINGLE_SECONDS = 10
ABSORBED_ROWS = 10_000
ABSORBED_CLIENTS = 8
ABSORB_SECONDS = 30
SCAN = "SELECT sum(l_extendedprice * (1 - l_discount)), count(*) FROM lineitem WHERE l_shipdate >= '1994-01-01'"


class Bench:
    def __init__(self, port, password, scale):
        self.port, self.password, self.scale = port, password, scale
        self.connection, self.cursor = self.connect()

    def connect(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="admin", password=self.password, dbname="dev")
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET search_path TO dml")
        return connection, cursor

    def timed(self, sql):
        began = time.perf_counter()
        self.cursor.execute(sql)
        return time.perf_counter() - began, self.cursor.rowcount

    def best_scan(self, runs=5):
        return min(self.timed(SCAN)[0] for _ in range(runs))


def line(what, figure):
    print(f"| {what} | {figure} |", flush=True)


def load(bench):
    bench.cursor.execute("DROP SCHEMA IF EXISTS dml CASCADE")
    bench.cursor.execute("CREATE SCHEMA dml")
    bench.cursor.execute(
        f"CREATE TABLE lineitem DISTKEY(l_orderkey) SORTKEY(l_shipdate) AS SELECT * FROM tpchgen('lineitem', {bench.scale})"
    )
    bench.cursor.execute(f"CREATE TABLE orders DISTKEY(o_orderkey) AS SELECT * FROM tpchgen('orders', {bench.scale})")
    bench.cursor.execute("CREATE TABLE single (id BIGINT, v INT) DISTKEY(id)")


def single_rows(bench):
    times = [bench.timed(f"INSERT INTO single VALUES ({row}, {row})")[0] for row in range(SINGLE_ROWS)]
    line("one-row INSERT, committed, median", f"{statistics.median(times) * 1000:.1f} ms")
    counts, end = [], time.monotonic() + SINGLE_SECONDS

    def insert(client):
        _, cursor = bench.connect()
        count = 0
        while time.monotonic() < end:
            cursor.execute(f"INSERT INTO single VALUES ({1_000_000 * (client + 1) + count}, {client})")
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=insert, args=(client,)) for client in range(SINGLE_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line(f"one-row INSERTs with {SINGLE_CLIENTS} clients", f"{sum(counts) / SINGLE_SECONDS:.0f} commits/s")


def absorbed(bench):
    bench.cursor.execute("CREATE TABLE absorbed (id BIGINT, v INT, t VARCHAR(40)) DISTKEY(id)")
    each = ABSORBED_ROWS // ABSORBED_CLIENTS

    def insert(client):
        _, cursor = bench.connect()
        for row in range(client * each, (client + 1) * each):
            cursor.execute(f"INSERT INTO absorbed VALUES ({row}, {row % 100}, 'row number {row}')")

    began = time.perf_counter()
    threads = [threading.Thread(target=insert, args=(client,)) for client in range(ABSORBED_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line(f"{ABSORBED_ROWS:,} one-row INSERTs with {ABSORBED_CLIENTS} clients", f"{time.perf_counter() - began:.1f} s")
    bench.cursor.execute("CREATE TABLE loaded DISTKEY(id) AS SELECT * FROM absorbed")
    scan = lambda table: min(bench.timed(f"SELECT sum(v), count(*), max(t) FROM {table}")[0] for _ in range(20))
    line("scan of them / of the same rows loaded at once", f"{scan('absorbed') / scan('loaded'):.2f}")
    time.sleep(ABSORB_SECONDS)
    line(f"the same {ABSORB_SECONDS} s later", f"{scan('absorbed') / scan('loaded'):.2f}")


def changes(bench):
    before = bench.best_scan()
    seconds, count = bench.timed("DELETE FROM lineitem WHERE l_orderkey % 100 = 7")
    line("DELETE of 1 % of lineitem", f"{seconds:.2f} s ({count:,} rows)")
    line("scan after it / before", f"{bench.best_scan() / before:.2f}")
    seconds, count = bench.timed("UPDATE lineitem SET l_discount = l_discount / 2, l_comment = 'changed' WHERE l_orderkey % 100 = 8")
    line("UPDATE of 1 % of lineitem", f"{seconds:.2f} s ({count:,} rows)")
    bench.cursor.execute("DROP TABLE IF EXISTS news")
    bench.cursor.execute(
        "CREATE TABLE news DISTKEY(o_orderkey) AS SELECT CASE WHEN o_orderkey % 2 = 0 THEN o_orderkey ELSE -o_orderkey END AS o_orderkey, "
        "o_custkey, o_totalprice + 1 AS o_totalprice, o_orderdate FROM orders ORDER BY o_orderkey LIMIT 100000"
    )
    seconds, count = bench.timed(
        "MERGE INTO orders USING news ON orders.o_orderkey = news.o_orderkey WHEN MATCHED THEN UPDATE SET o_totalprice = news.o_totalprice "
        "WHEN NOT MATCHED THEN INSERT (o_orderkey, o_custkey, o_totalprice, o_orderdate) "
        "VALUES (news.o_orderkey, news.o_custkey, news.o_totalprice, news.o_orderdate)"
    )
    line("MERGE of 100,000 rows into orders", f"{seconds:.2f} s ({count:,} rows)")


def vacuum(bench):
    idle = sorted(bench.timed(SCAN)[0] for _ in range(30))
    ended, busy = threading.Event(), []

    def read():
        _, cursor = bench.connect()
        while not ended.is_set():
            began = time.perf_counter()
            cursor.execute(SCAN)
            busy.append(time.perf_counter() - began)

    reader = threading.Thread(target=read)
    reader.start()
    seconds, _ = bench.timed("VACUUM FULL lineitem TO 100 PERCENT")
    ended.set()
    reader.join()
    p95 = lambda times: sorted(times)[int(len(times) * 0.95)]
    line("VACUUM FULL of lineitem", f"{seconds:.2f} s")
    line("a reader's p95 meanwhile / idle", f"{p95(busy) / p95(idle):.2f} ({len(busy)} reads)")
    line("scan after it", f"{bench.best_scan() * 1000:.0f} ms")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    bench = Bench(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else "1")
    load(bench)
    print("| what | figure |\n|---|---|")
    single_rows(bench)
    absorbed(bench)
    changes(bench)
    vacuum(bench)
    for notice in bench.connection.notices[-3:]:
        print(f"<!-- {notice.strip()} -->")


if __name__ == "__main__":
    main()
