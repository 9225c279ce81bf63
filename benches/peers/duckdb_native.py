"""DuckDB with native tables in a database file."""

import duckdb

from common import THREADS
from system import Base


class System(Base):
    notes = f"in the Python process, database file, threads = {THREADS}, else defaults"
    connection = None

    def start(self):
        self.connection = duckdb.connect(str(self.work / "tpch.duckdb"))
        self.connection.execute(f"SET threads = {THREADS}")

    def load(self, table):
        files = f"{self.parquet}/{table}/*.parquet"
        self.connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{files}')")

    def finish_load(self):
        self.connection.execute("CHECKPOINT")

    def query(self, sql):
        return self.connection.execute(sql).fetchall()

    def version(self):
        return duckdb.__version__

    def stop(self):
        if self.connection:
            self.connection.close()
