"""Runs the oracles against a running Slipher: see README.md of this directory.

usage: run.py HOST PORT USER PASSWORD [ONE-NODE-PORT]
"""

import os
import random
import sys
import time

import engines
import postgres_server
from changes import Changes
from dialect import Dialect
from differential import Differential
from norec import NoRec
from partitions import Partitions
from plans import Plans
from prepared import Prepared
from refusals import Refusals
from report import Report
from shrink import Budget
from tree import DUCKDB, POSTGRES
from world import World

# Trials on one set of tables.
TRIALS_PER_WORLD = 120
# What runs when nobody says how long: always the same trials, so that a run that was right stays right.
SEED = 1
TRIALS = 1200
# All findings of that run together are made smaller for so long.
SHRINK_SECONDS = 60


def main():
    host, port, user, password = sys.argv[1:5]
    one_port = sys.argv[5] if len(sys.argv) > 5 else None
    seconds = float(os.environ.get("SLIPHER_ORACLE_SECONDS", "0"))
    default_seed = random.SystemRandom().randrange(10**9) if seconds else SEED
    seed = int(os.environ.get("SLIPHER_ORACLE_SEED") or default_seed)
    limit = Limit(seconds, int(os.environ.get("SLIPHER_ORACLE_TRIALS") or (10**12 if seconds else TRIALS)))
    if not seconds:
        Budget.left_seconds = SHRINK_SECONDS
    only = os.environ.get("SLIPHER_ORACLE_ONLY", "").split(",")
    print(f"oracles: SLIPHER_ORACLE_SEED={seed}, {limit}", flush=True)
    report = Report(seed)
    slipher = engines.slipher("Slipher", host, port, password, user)
    one = engines.slipher("Slipher on one node", host, one_port, password, user) if one_port else None
    if postgres_server.install():
        with postgres_server.PostgresServer() as server:
            run(report, slipher, one, {POSTGRES: engines.postgres(server.port, postgres_server.USER), DUCKDB: engines.Duck()}, seed, limit, only)
    else:
        print("PostgreSQL is not installed: the comparison with it did not run", flush=True)
        run(report, slipher, one, {DUCKDB: engines.Duck()}, seed, limit, only)
    good = report.summary()
    print("1 passed, 0 failed" if good else f"0 passed, {len(report.findings)} failed", flush=True)
    sys.exit(0 if good else 1)


class Limit:
    """How long to go on: seconds (0: any time) and trials."""

    def __init__(self, seconds, trials):
        self.seconds, self.trials = seconds, trials
        self.deadline = time.monotonic() + seconds if seconds else float("inf")

    def reached(self):
        return self.trials <= 0 or time.monotonic() > self.deadline

    def __str__(self):
        return f"{self.seconds:.0f} s" if self.seconds else f"{self.trials} trials"


def run(report, slipher, one, references, seed, limit, only):
    oracles = [Differential(slipher, references, report)] * 6 + [Partitions(slipher, report)] * 3 + [NoRec(slipher, report)]
    oracles += [Plans(slipher, one, report)] * 2
    oracles += [Dialect(slipher, references, report)] * 8 + [Prepared(slipher, references, report)] * 2
    oracles.append(Refusals(slipher, report))
    if POSTGRES in references:
        oracles.append(Changes(slipher, references[POSTGRES], report))
    oracles = [oracle for oracle in oracles if only == [""] or oracle.name in only]
    everyone = [slipher, *([one] if one else []), *references.values()]
    world_seed = seed
    while not limit.reached():
        rng = random.Random(world_seed)
        world = World(rng, everyone)
        report.count("sets of tables")
        for _ in range(TRIALS_PER_WORLD):
            if limit.reached():
                break
            limit.trials -= 1
            oracle = rng.choice(oracles)
            report.count(f"trials of {oracle.name}")
            oracle.trial(rng, world, world_seed)
            if getattr(oracle, "spoiled", False):
                # The engines' tables differ now.
                oracle.spoiled = False
                break
        # Tables are made anew for each world, and one seed stands for one world.
        world_seed += 1
    for engine in everyone:
        report.count(f"statements run by {engine.name}", engine.statements)


if __name__ == "__main__":
    main()
