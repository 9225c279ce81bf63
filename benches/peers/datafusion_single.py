"""DataFusion in one process, over the Parquet files."""

import datafusion

from common import TABLES, THREADS
from system import Base


class System(Base):
    notes = f"in the Python process, reads the Parquet files in place, target_partitions = {THREADS}, else defaults"
    context = None

    def start(self):
        config = datafusion.SessionConfig().with_target_partitions(THREADS)
        self.context = datafusion.SessionContext(config)
        for table in TABLES:
            self.context.register_parquet(table, f"{self.parquet}/{table}/")

    def query(self, sql):
        rows = []
        for batch in self.context.sql(sql).collect():
            rows.extend(zip(*(column.to_pylist() for column in batch.columns)))
        return rows

    def version(self):
        return datafusion.__version__
