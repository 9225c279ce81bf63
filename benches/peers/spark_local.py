"""Spark in local mode, over the Parquet files."""

import pyspark
from pyspark.sql import SparkSession

from common import TABLES, THREADS
from system import Base

# Driver memory: local mode runs everything in the driver. Shuffle partitions: the default of 200 is for clusters.
OPTIONS = {
    "spark.driver.memory": "8g",
    "spark.sql.shuffle.partitions": str(2 * THREADS),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}


class System(Base):
    notes = f"local[{THREADS}], reads the Parquet files in place, 8 GiB of heap, {2 * THREADS} shuffle partitions, else defaults"
    session = None

    def start(self):
        builder = SparkSession.builder.master(f"local[{THREADS}]").appName("tpch")
        builder = builder.config("spark.local.dir", str(self.work / "local"))
        builder = builder.config("spark.sql.warehouse.dir", str(self.work / "warehouse"))
        for name, value in OPTIONS.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")
        for table in TABLES:
            self.session.read.parquet(f"{self.parquet}/{table}").createOrReplaceTempView(table)

    def query(self, sql):
        return [tuple(row) for row in self.session.sql(sql).collect()]

    def version(self):
        return pyspark.__version__

    def stop(self):
        if self.session:
            self.session.stop()
