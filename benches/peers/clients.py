"""Clients of Slipher: a leader and two compute nodes as processes of their own; a dashboard mix, a large fetch, idle connections."""

import contextlib
import shutil
import sys
from pathlib import Path

import dashboard
import fetch
import slipher
from common import TABLES
from memory import status_kib

NODES = 2
THREAD_COUNTS = [1, 8, 64]


def measure(chosen, work):
    directory = Path(work) / "clients"
    directory.mkdir()
    with cluster(chosen, directory) as leader:
        load(leader)
    # A second start: the memory of the load is not in the figures.
    with cluster(chosen, directory) as leader:
        result = {"nodes": NODES, "idle": step(idle, leader, chosen.idle)}
        result["fetch"] = [step(how, leader, chosen.fetch_rows) for how in fetch.HOW]
        result["fetch"].append(step(fetch.ingest, leader, chosen.parquet_dir))
        result["dashboard"] = [step(dashboard.measure, leader, count, chosen.client_seconds) for count in THREAD_COUNTS]
    # The logs stay.
    for data in directory.glob("*/"):
        shutil.rmtree(data)
    return result


@contextlib.contextmanager
def cluster(chosen, directory):
    processes = slipher.start_cluster(chosen.slipher, directory, chosen.parquet_dir, NODES)
    try:
        yield processes[0]
    finally:
        for process in reversed(processes):
            process.stop()


def load(leader):
    connection = slipher.connect(leader.ports["pg"])
    with connection.cursor() as cursor:
        for table in TABLES:
            slipher.load_table(cursor, table)
    connection.close()


def step(function, *arguments):
    """A part that fails says so in the report and leaves the others."""
    print(f"clients: {function.__name__} {arguments[1:]}", file=sys.stderr, flush=True)
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - reported, not hidden
        return {"what": function.__name__, "failed": f"{type(error).__name__}: {error}"[:600]}


def idle(leader, count):
    """The leader's resident memory with many connections that do nothing."""
    before = status_kib(leader.pid, "VmRSS")
    connections = []
    try:
        for _ in range(count):
            connections.append(slipher.connect(leader.ports["pg"]))
        after = status_kib(leader.pid, "VmRSS")
    finally:
        for connection in connections:
            connection.close()
    return {"connections": count, "before_mib": before / 1024, "after_mib": after / 1024}
