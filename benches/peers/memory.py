"""Memory of a process tree, from /proc."""

import os
import threading


def status_kib(pid, key):
    """A figure of /proc/PID/status; 0 once the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def shared_out_kib(pid):
    """PSS: pages that several processes share count once in all, so that a sum over a tree is right."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def tree(roots):
    """The given processes and all below them."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = status_kib(entry, "PPid")
            children.setdefault(parent, []).append(int(entry))
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


class Sampler(threading.Thread):
    """Peak memory: VmHWM while the tree is one process (exact), else the largest sampled sum of PSS."""

    def __init__(self, interval=0.25):
        super().__init__(daemon=True)
        self.interval = interval
        self.roots = []
        self.single_kib = 0
        self.sum_kib = 0
        self.processes = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(self.interval):
            self.sample()

    def sample(self):
        if not self.roots:
            return
        pids = tree(self.roots)
        self.processes = max(self.processes, len(pids))
        if len(pids) == 1:
            self.single_kib = max(self.single_kib, status_kib(pids[0], "VmHWM"))
        else:
            self.sum_kib = max(self.sum_kib, sum(shared_out_kib(pid) for pid in pids))

    def peak_mib(self):
        return max(self.single_kib, self.sum_kib) / 1024
