"""What was tried and what was found."""

import re
import time
from collections import Counter

import explained

# So many findings are printed in full; the others are counted.
PRINTED_MAX = 25
SLOW_PRINTED_MAX = 5


class Report:
    """Counts of everything; findings, each kind printed once."""

    def __init__(self, seed):
        self.seed, self.began = seed, time.monotonic()
        self.counts, self.refusals, self.invalid = Counter(), Counter(), Counter()
        self.findings, self.known, self.printed = Counter(), Counter(), set()

    def count(self, what, number=1):
        self.counts[what] += number

    def invalid_query(self, error):
        """The reference refused it: the generator's fault, or an error that depends on the data."""
        self.count("refused by the reference")
        self.invalid[signature(error.message)] += 1

    def refused(self, error):
        """Slipher says that it does not support something."""
        self.count("not supported")
        self.refusals[signature(error.message)] += 1

    def slow(self, sql):
        """Slipher was stopped; the first few such statements are printed, for a person to look at."""
        self.count("took Slipher too long")
        if self.counts["took Slipher too long"] <= SLOW_PRINTED_MAX:
            print(f"\ntook Slipher too long: {sql}", flush=True)

    def is_known(self, oracle, sql, kind, words):
        """Whether a finding is explained: then it is counted only."""
        reason = explained.reason(oracle, sql, kind, words)
        if reason:
            self.known[reason] += 1
        return reason is not None

    def is_new(self, kind):
        """Whether a finding should be made smaller and printed; else it is counted."""
        if kind in self.findings or len(self.findings) >= PRINTED_MAX:
            self.findings[kind] += 1
            return False
        return True

    def is_printed(self, kind, smallest):
        """Counts a finding that was made smaller; whether one like it has been printed. From now on it has."""
        self.findings[kind] += 1
        known = smallest in self.printed
        self.printed.add(smallest)
        return known

    def finding(self, oracle, world_seed, kind, text):
        line = "=" * 100
        print(f"\n{line}\nFINDING ({oracle}, SLIPHER_ORACLE_SEED={world_seed}): {kind}\n{text}\n{line}", flush=True)

    def summary(self):
        """Prints what was tried; whether nothing was found."""
        print(f"\noracles: seed {self.seed}, {time.monotonic() - self.began:.0f} s")
        for what, number in sorted(self.counts.items()):
            print(f"  {number:>9} {what}")
        sections = [("not supported by Slipher (0A000)", self.refusals), ("refused by the reference", self.invalid),
                    ("differences that are explained", self.known), ("FINDINGS", self.findings)]
        for title, counter in sections:
            if counter:
                print(f"  {title}:")
            for what, number in counter.most_common(30):
                print(f"    {number:>7} {what}")
        found = sum(self.findings.values())
        trials = sum(number for what, number in self.counts.items() if what.startswith("trials of"))
        print(f"{trials} trials, {found} findings of {len(self.findings)} kinds", flush=True)
        return not found


def signature(message):
    """A message without names and numbers: what is equal for errors of one kind."""
    first = message.strip().split("\n")[0]
    first = re.sub(r'"[^"]*"', '"…"', first)
    first = re.sub(r"'[^']*'", "'…'", first)
    # What the engine prints of its own structures says nothing about the kind.
    first = re.sub(r"(changes on its way to the compute nodes: \w+).*", r"\1 …", first)
    first = re.sub(r"(GroupingSet|Exists|InSubquery|ScalarSubquery)\(.*", r"\1(…", first)
    return re.sub(r"\d+", "N", first)[:160]
