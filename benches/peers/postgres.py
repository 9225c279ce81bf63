"""PostgreSQL with a data directory of its own on the loopback address."""

import io
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg2
import pyarrow
import pyarrow.csv

from common import PASSWORD, columns, free_ports, parquet_files, plain_batches, primary_key
from system import Base

STOP_SECONDS = 30
START_SECONDS = 60
# For 2 cores and 24 GiB. One worker beside the leader keeps both cores busy; JIT costs more than it gains on queries of this size.
SETTINGS = {
    "shared_buffers": "6GB",
    "effective_cache_size": "16GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "1",
    "jit": "off",
    "random_page_cost": "1.1",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}
# Without these its nested loops read whole tables (queries 17, 20, 21).
INDEXES = ["lineitem (l_partkey, l_suppkey)", "lineitem (l_shipdate)", "orders (o_custkey)", "orders (o_orderdate)",
           "partsupp (ps_suppkey)", "customer (c_nationkey)", "supplier (s_nationkey)"]


def binaries():
    """The newest installed version's directory."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    known = shutil.which("postgres")
    if not known:
        raise RuntimeError("no PostgreSQL server here: apt-get install postgresql")
    return Path(known).resolve().parent


def unprivileged():
    """The start of a command: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


class Lines(io.RawIOBase):
    """Parquet files as CSV, one batch at a time, for COPY to read."""

    def __init__(self, files):
        self.batches = (batch for batch in plain_batches(files, 65_536))
        self.left = b""

    def readable(self):
        return True

    def read(self, size=-1):
        if not self.left:
            batch = next(self.batches, None)
            if batch is None:
                return b""
            written = pyarrow.BufferOutputStream()
            pyarrow.csv.write_csv(batch, written, pyarrow.csv.WriteOptions(include_header=False))
            self.left = memoryview(written.getvalue())
        piece, self.left = bytes(self.left[:size]), self.left[size:]
        return piece


class System(Base):
    notes = "primary keys, indexes on foreign keys and dates, VACUUM ANALYZE, CHAR as VARCHAR; " + ", ".join(
        f"{name} = {value}" for name, value in SETTINGS.items() if value and name != "listen_addresses"
    )
    server = None

    def start(self):
        self.data = self.work / "data"
        if not self.data.exists():
            self.initialise()
        self.port = free_ports(1)[0]
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [*unprivileged(), str(binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        self.server = subprocess.Popen(command)
        connection = self.connect()
        connection.autocommit = True
        self.cursor = connection.cursor()

    def initialise(self):
        secret = self.work / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            shutil.chown(self.work, "postgres")
            shutil.chown(secret, "postgres")
        options = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
        command = [*unprivileged(), str(binaries() / "initdb"), "-D", str(self.data), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def connect(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, dbname="postgres")
            except psycopg2.OperationalError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    raise
                time.sleep(0.02)

    def load(self, table):
        # CHAR would be padded with blanks in every answer.
        listed = ", ".join(f"{name} {re.sub('^CHAR', 'VARCHAR', kind)} NOT NULL" for name, kind in columns(table))
        self.cursor.execute("BEGIN")
        self.cursor.execute(f"CREATE TABLE {table} ({listed})")
        self.cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT csv)", Lines(parquet_files(self.parquet, table)), 1 << 20)
        self.cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(primary_key(table))})")
        self.cursor.execute("COMMIT")

    def finish_load(self):
        for index in INDEXES:
            self.cursor.execute(f"CREATE INDEX ON {index}")
        self.cursor.execute("VACUUM (ANALYZE)")
        self.cursor.execute("CHECKPOINT")

    def query(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchall()

    def version(self):
        return self.query("SHOW server_version")[0][0].split()[0]

    def pids(self):
        return [self.server.pid]

    def stop(self):
        if self.server and self.server.poll() is None:
            # Fast shutdown: it does not wait for clients.
            self.server.send_signal(signal.SIGINT)
            try:
                self.server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
