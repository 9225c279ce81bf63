"""One system in a process of its own: loads the tables or runs queries, and tells the runner over standard output.

Reads a job as one line of JSON. After the last event it waits until its input closes, so that its memory can be read.
"""

import importlib
import json
import os
import sys
import time

from common import TABLES, plain
from rewrites import query_for

MODULES = {
    "slipher1": "slipher",
    "slipher2": "slipher",
    "slipher4": "slipher",
    "datafusion": "datafusion_single",
    "duckdb": "duckdb_native",
    "clickhouse": "clickhouse_chdb",
    "spark": "spark_local",
    "postgres": "postgres",
}


def take_stdout():
    """The real standard output for events; whatever a system prints goes to standard error."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda **event: events.write(json.dumps(event) + "\n")


def load(system, emit):
    for table in TABLES:
        started = time.perf_counter()
        system.load(table)
        emit(event="table", table=table, seconds=time.perf_counter() - started)
    started = time.perf_counter()
    system.finish_load()
    emit(event="finished", seconds=time.perf_counter() - started)


def run_query(system, emit, name, number, runs):
    sql = query_for(name, number)
    for run in range(runs):
        emit(event="begin", number=number)
        started = time.perf_counter()
        try:
            rows = system.query(sql)
        except Exception as error:  # noqa: BLE001 - every error is an answer here
            emit(event="error", number=number, text=f"{type(error).__name__}: {error}"[:600])
            return
        emit(event="query", number=number, ms=(time.perf_counter() - started) * 1000)
    emit(event="answer", number=number, rows=[[plain(value) for value in row] for row in rows])


def main():
    emit = take_stdout()
    job = json.loads(sys.stdin.readline())
    module = importlib.import_module(MODULES[job["system"]])
    started = time.perf_counter()
    system = module.System(job)
    try:
        system.start()
        seconds = time.perf_counter() - started
        emit(event="ready", seconds=seconds, version=system.version(), pids=system.pids(), notes=system.notes)
        if job["phase"] == "load":
            load(system, emit)
        for number in job["queries"]:
            run_query(system, emit, job["system"], number, job["runs"])
        emit(event="done")
        sys.stdin.read()
    finally:
        system.stop()


main()
