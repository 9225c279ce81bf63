"""Starts a worker, follows its events, holds it to the time-out and ends it with everything below it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from memory import Sampler, tree

WORKER = Path(__file__).with_name("worker.py")
# A start or the load of one table may take longer than a query.
SLOW_FACTOR = 10
STOP_SECONDS = 20


class TimedOut(Exception):
    pass


class Worker:
    """A running worker; `events` yields what it tells."""

    def __init__(self, job, timeout, log):
        self.timeout = timeout
        self.sampler = Sampler()
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def events(self):
        """Events up to `done`. Raises TimedOut, and EOFError when the worker dies."""
        limit = self.timeout * SLOW_FACTOR
        while True:
            try:
                event = self.lines.get(timeout=limit)
            except queue.Empty:
                raise TimedOut from None
            if event is None:
                raise EOFError(f"the process ended with {self.process.wait()}")
            if event["event"] == "ready":
                self.sampler.roots = event["pids"]
                self.sampler.start()
            if event["event"] == "done":
                self.sampler.sample()
                return
            limit = self.timeout if event["event"] == "begin" else self.timeout * SLOW_FACTOR
            yield event

    def close(self):
        """Lets the worker stop its system; ends what does not."""
        self.sampler.ended.set()
        pids = tree([self.process.pid, *self.sampler.roots])
        try:
            self.process.stdin.close()
            self.process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            pass
        end_all(pids, self.process)
        self.log.close()

    def kill(self):
        """After a time-out nothing waits for the query: the worker goes at once, its servers are told to stop."""
        self.sampler.ended.set()
        pids = tree([self.process.pid, *self.sampler.roots])
        self.process.kill()
        self.process.wait()
        end_all(pids, self.process)
        self.log.close()


def end_all(pids, worker):
    for number in (signal.SIGINT, signal.SIGKILL):
        alive = [pid for pid in pids if pid != worker.pid and running(pid)]
        for pid in alive:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(running(pid) for pid in alive):
            time.sleep(0.05)
    if worker.poll() is None:
        worker.kill()
        worker.wait()


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
