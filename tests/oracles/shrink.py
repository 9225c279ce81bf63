"""Makes a failing query smaller while it goes on failing in the same way."""

import os
import time
from dataclasses import replace

from tree import Absent, smaller

# So long a finding is made smaller; less while many are known.
SHRINK_MAX_SECONDS = float(os.environ.get("SLIPHER_ORACLE_SHRINK_SECONDS", "40"))
SHRINK_MAX_TRIES = 1500


class Budget:
    """What all findings of a run may take together."""

    left_seconds = float("inf")

    @classmethod
    def deadline(cls, seconds):
        cls.began = time.monotonic()
        return cls.began + min(seconds, cls.left_seconds)

    @classmethod
    def spend(cls):
        cls.left_seconds = max(0.0, cls.left_seconds - (time.monotonic() - cls.began))


def shrink(tree, fails, seconds=SHRINK_MAX_SECONDS):
    """The smallest tree found for which `fails(tree)` is true."""
    deadline = Budget.deadline(seconds)
    try:
        return shrink_until(deadline, tree, fails)
    finally:
        Budget.spend()


def shrink_until(deadline, tree, fails):
    tries, progress = 0, True
    while progress:
        progress = False
        for candidate in smaller(tree):
            tries += 1
            if tries > SHRINK_MAX_TRIES or time.monotonic() > deadline:
                return tree
            try:
                if fails(candidate):
                    tree, progress = candidate, True
                    break
            except Absent:
                continue
    return tree


def fewer_rows(tables, fails, seconds=SHRINK_MAX_SECONDS / 2):
    """Tables with as few rows as `fails(tables)` allows: halves, quarters and so on are left out as long as it still fails."""
    deadline = Budget.deadline(seconds)
    try:
        return fewer_rows_until(deadline, tables, fails)
    finally:
        Budget.spend()


def fewer_rows_until(deadline, tables, fails):
    for index, table in enumerate(tables):
        size = len(table.rows)
        while size > 0:
            start, progress = 0, False
            while start < len(table.rows):
                if time.monotonic() > deadline:
                    return tables
                fewer = replace(table, rows=table.rows[:start] + table.rows[start + size :])
                candidate = [*tables[:index], fewer, *tables[index + 1 :]]
                if fails(candidate):
                    table, tables, progress = fewer, candidate, True
                else:
                    start += size
            size = size if progress and size == 1 else size // 2
    return tables
