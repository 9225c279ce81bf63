"""What a system in this comparison can do; each module has a class System below this one."""

import os
from pathlib import Path


class Base:
    # Shown under the table.
    notes = ""

    def __init__(self, job):
        self.job = job
        self.parquet = job["parquet"]
        self.work = Path(job["work"])

    def start(self):
        """Opens the data directory, or makes it."""

    def load(self, table):
        """Loads a table from its Parquet files; nothing for a system that reads them in place."""

    def finish_load(self):
        """Indexes and statistics."""

    def query(self, sql):
        """The rows of a query, all of them in the client's hands."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def pids(self):
        """Roots of the process trees whose memory counts."""
        return [os.getpid()]

    def stop(self):
        """Ends what `start` started."""
