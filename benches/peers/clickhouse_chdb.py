"""ClickHouse inside the process (chdb), MergeTree tables in a directory."""

import chdb
import pyarrow
from chdb import session

from common import THREADS, columns, parquet_files, primary_key
from system import Base

# Joins give NULL for what is missing, as SQL wants; ClickHouse's default is the type's zero.
# Without statistics written at the load, queries 5, 8 and 9 took several times longer after a restart.
SETTINGS = {
    "max_threads": THREADS,
    "join_use_nulls": 1,
    "materialize_statistics_on_insert": 1,
    "output_format_arrow_string_as_string": 1,
}


class System(Base):
    notes = (
        "in the Python process (chdb), MergeTree sorted by the primary key, "
        f"max_threads = {THREADS}, join_use_nulls = 1, materialize_statistics_on_insert = 1"
    )
    session = None

    def start(self):
        self.session = session.Session(str(self.work / "chdb"))
        for name, value in SETTINGS.items():
            self.session.query(f"SET {name} = {value}")

    def load(self, table):
        # SQL names of types are known to ClickHouse; text of any length is String.
        listed = ", ".join(f"{name} {'String' if 'CHAR' in kind else kind}" for name, kind in columns(table))
        key = ", ".join(primary_key(table))
        self.session.query(f"CREATE TABLE {table} ({listed}) ENGINE = MergeTree ORDER BY ({key})")
        for file in parquet_files(self.parquet, table):
            self.session.query(f"INSERT INTO {table} SELECT * FROM file('{file}', Parquet)")

    def query(self, sql):
        answer = self.session.query(sql, "Arrow")
        with pyarrow.ipc.open_file(pyarrow.py_buffer(answer.bytes())) as reader:
            table = reader.read_all()
        return list(zip(*(column.to_pylist() for column in table.columns)))

    def version(self):
        engine = self.query("SELECT version()")[0][0]
        return f"{engine} (chdb {chdb.__version__})"

    def stop(self):
        if self.session:
            self.session.close()
