"""Sessions that scan all columns of a table beside INSERTs of single rows: what each kind is answered in.

    pip install psycopg2-binary
    slipher local --data-dir DIR --admin-password PASSWORD --pg-port PORT
    python3 benches/busy.py PORT PASSWORD [SECONDS [SESSIONS [ROWS]]]

200 INSERTs a second are asked for, by 16 sessions; the scans have no pauses.
"""

import sys
import threading
import time

import psycopg2

INSERTS_PER_SECOND = 200
INSERTERS = 16
SCAN = "SELECT count(*), sum(a), sum(b), max(v), max(d), max(t), sum(f), count(distinct v) FROM busy_scanned WHERE a <> %s"
LOAD = """INSERT INTO busy_scanned
    SELECT n, n %% 1000, n * 0.01, 'value ' || n %% 5000, date '2020-01-01' + n %% 1000, 
        timestamp '2020-01-01' + n * interval '1 second', n * 1.5
    FROM generate_series(1, %s) g(n)"""


class Kind:
    """Statements of one kind: their latencies in ms, and what went wrong."""

    def __init__(self, name):
        self.name, self.latencies, self.errors, self.lock = name, [], [], threading.Lock()

    def run(self, cursor, sql, values):
        started = time.monotonic()
        try:
            cursor.execute(sql, values)
            if cursor.description:
                cursor.fetchall()
        except psycopg2.Error as error:
            with self.lock:
                self.errors.append(str(error))
            return
        with self.lock:
            self.latencies.append((time.monotonic() - started) * 1000)

    def tell(self, seconds):
        ordered = sorted(self.latencies) or [float("nan")]
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99, 1)]
        rate = len(self.latencies) / seconds
        print(f"{self.name}: {rate:.1f}/s, median {at[0]:.0f} ms, p99 {at[1]:.0f} ms, longest {at[2]:.0f} ms, {len(self.errors)} errors")
        for error in self.errors[:3]:
            print("   ", error)


def main():
    port, password = int(sys.argv[1]), sys.argv[2]
    seconds, sessions, rows = (int(given) for given in (sys.argv[3:] + ["60", "64", "3000000"][len(sys.argv) - 3 :]))

    def connect():
        connection = psycopg2.connect(host="127.0.0.1", port=port, user="admin", password=password, dbname="dev")
        connection.autocommit = True
        return connection.cursor()

    first = connect()
    first.execute("DROP TABLE IF EXISTS busy_scanned, busy_events")
    first.execute("CREATE TABLE busy_scanned (k int, a int, b decimal(12,2), v varchar(40), d date, t timestamp, f float8) DISTKEY(k) SORTKEY(a)")
    first.execute(LOAD, (rows,))
    first.execute("CREATE TABLE busy_events (id bigint, s varchar(20)) DISTKEY(id)")
    scans, inserts = Kind("scans"), Kind("INSERTs")
    end = time.monotonic() + seconds

    def scan(number):
        cursor = connect()
        while time.monotonic() < end:
            scans.run(cursor, SCAN, (number,))

    def insert(number):
        cursor, due, count = connect(), time.monotonic(), 0
        while time.monotonic() < end:
            # Who is late does not make up for more than a second.
            due = max(due + INSERTERS / INSERTS_PER_SECOND, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
            inserts.run(cursor, "INSERT INTO busy_events VALUES (%s, 'x')", (number * 1_000_000_000 + count,))
            count += 1

    threads = [threading.Thread(target=scan, args=(number,)) for number in range(sessions)]
    threads += [threading.Thread(target=insert, args=(number,)) for number in range(INSERTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scans.tell(seconds)
    inserts.tell(seconds)
    first.execute("SELECT count(*) FROM busy_events")
    there = first.fetchone()[0]
    if there != len(inserts.latencies):
        sys.exit(f"{there} rows are there, {len(inserts.latencies)} INSERTs were acknowledged")


main()
