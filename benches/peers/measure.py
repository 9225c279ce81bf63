"""Measures one system: the load, each query cold in a fresh process, then all queries warm in one process."""

import os
import shutil
import sys
from pathlib import Path

from common import QUERIES, directory_bytes, evict
from drive import TimedOut, Worker

IN_PLACE = {"datafusion", "spark"}


def measure(name, options, work):
    """Everything known of a system as one JSON object."""
    directory = Path(work) / name
    directory.mkdir(mode=0o711)
    job = {"system": name, "work": str(directory), "parquet": options.parquet_dir, "slipher": options.slipher}
    log = Path(work) / f"{name}.log"
    result = {"system": name, "cold": {}, "warm": {}, "problems": {}, "answers": {}, "in_place": name in IN_PLACE}
    # What else the machine does; before this system starts.
    result["load_average"] = os.getloadavg()[0]
    try:
        load(job, options, log, result)
        result["stored_bytes"] = directory_bytes(directory)
        for number in options.queries if options.cold else []:
            say(f"{name}: query {number}, cold")
            evict(directory)
            evict(options.parquet_dir)
            run_queries(job, [number], 1, options, log, result, "cold")
        warm(job, options, log, result)
    except (TimedOut, EOFError) as error:
        result["failed"] = f"{type(error).__name__}: {error}"
        say(f"{name}: {result['failed']}; see {log}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def load(job, options, log, result):
    say(f"{job['system']}: load")
    worker = Worker(job | {"phase": "load", "queries": [], "runs": 0}, options.timeout, log)
    tables = {}
    try:
        for event in worker.events():
            if event["event"] == "ready":
                result["version"], result["notes"] = event["version"], event["notes"]
            elif event["event"] == "table":
                tables[event["table"]] = event["seconds"]
            elif event["event"] == "finished":
                result["finish_seconds"] = event["seconds"]
    finally:
        worker.close()
    result["load_seconds"] = tables
    result["load_peak_mib"] = worker.sampler.peak_mib()


def warm(job, options, log, result):
    """One process for all; after a time-out or a crash a new one takes the rest. What failed cold is not tried again."""
    left = [number for number in options.queries if str(number) not in result["problems"]]
    while left:
        say(f"{job['system']}: {len(left)} queries, warm")
        done = run_queries(job, left, options.runs, options, log, result, "warm")
        left = left[len(done):]


def run_queries(job, numbers, runs, options, log, result, kind):
    """Runs queries in one worker; answers those that are finished, well or not."""
    worker = Worker(job | {"phase": "queries", "queries": numbers, "runs": runs}, options.timeout, log)
    current, done = None, []
    try:
        for event in worker.events():
            current = event.get("number", current)
            if event["event"] == "ready":
                result.setdefault("start_seconds", []).append(event["seconds"])
            elif event["event"] == "query":
                best = result[kind].get(str(current), float("inf"))
                result[kind][str(current)] = min(best, event["ms"])
            elif event["event"] == "answer":
                result["answers"][str(current)] = event["rows"]
                done.append(current)
            elif event["event"] == "error":
                result["problems"][str(current)] = event["text"]
                done.append(current)
    except (TimedOut, EOFError) as error:
        current = current or numbers[0]
        text = f"no answer in {options.timeout} s" if isinstance(error, TimedOut) else str(error)
        result["problems"][str(current)] = text
        worker.kill()
        return [*done, current]
    finally:
        if kind == "warm":
            result["query_peak_mib"] = max(result.get("query_peak_mib", 0), worker.sampler.peak_mib())
        if worker.process.poll() is None:
            worker.close()
    return done


def say(text):
    print(text, file=sys.stderr, flush=True)
