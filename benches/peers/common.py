"""What every part of the comparison shares: TPC-H's tables and queries, ports, values as JSON, processes."""

import datetime
import decimal
import math
import os
import re
import socket
from pathlib import Path

TPCH = Path(__file__).resolve().parents[2] / "common" / "src" / "tpch"
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
QUERIES = range(1, 23)
# Threads of every system that can be told: the machine of the figures has two cores.
THREADS = 2
PASSWORD = "bench"


def query_text(number):
    """A query without the comment line that names it."""
    return (TPCH / "queries" / f"q{number:02}.sql").read_text().split("\n", 1)[1]


def ddl(table):
    """Slipher's CREATE TABLE."""
    return (TPCH / "tables" / f"{table}.sql").read_text()


def columns(table):
    """Names and types of a table's columns."""
    pattern = r"^    ([a-z_]+) +([A-Z]+(?:\([0-9, ]+\))?) NOT NULL"
    return re.findall(pattern, ddl(table), re.MULTILINE)


def primary_key(table):
    """The columns of the primary key."""
    whole = re.search(r"^    PRIMARY KEY \(([^)]+)\)", ddl(table), re.MULTILINE)
    if whole:
        return whole.group(1).split(", ")
    return [re.search(r"^    ([a-z_]+) .*PRIMARY KEY", ddl(table), re.MULTILINE).group(1)]


def parquet_files(directory, table):
    return sorted(str(path) for path in (Path(directory) / table).glob("*.parquet"))


def parquet_rows(directory, table):
    import pyarrow.parquet

    return sum(pyarrow.parquet.read_metadata(path).num_rows for path in parquet_files(directory, table))


def plain_batches(files, rows):
    """Batches with text as plain strings: a slice of string views carries all text of its row group, and CSV knows no views."""
    import pyarrow.parquet

    for file in files:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(rows):
            is_view = pyarrow.types.is_string_view
            fields = [field.with_type(pyarrow.string()) if is_view(field.type) else field for field in batch.schema]
            yield batch.cast(pyarrow.schema(fields))


def free_ports(count):
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def plain(value):
    """A value of an answer as JSON: numbers stay numbers, everything else is exact text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return str(value)


def directory_bytes(path):
    files = [os.path.join(base, name) for base, _, names in os.walk(path) for name in names]
    return sum(os.path.getsize(name) for name in files if os.path.isfile(name))


def evict(path):
    """Drops a directory's files from the page cache. Only these: other work on the machine keeps its cache."""
    for base, _, names in os.walk(path):
        for name in names:
            try:
                descriptor = os.open(os.path.join(base, name), os.O_RDONLY)
            except OSError:
                continue
            try:
                # Dirty pages would stay.
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError:
                pass
            finally:
                os.close(descriptor)
