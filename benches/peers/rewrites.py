"""Queries that a system does not take as they are, each with the reason. The report lists them."""

from common import query_text

# (system, query): (reason, text, its replacement)
REWRITES = {}


def query_for(system, number):
    """The text of a query for a system."""
    text = query_text(number)
    if (system, number) in REWRITES:
        _, old, new = REWRITES[(system, number)]
        if old not in text:
            raise ValueError(f"the rewrite of query {number} for {system} no longer fits its text")
        text = text.replace(old, new)
    return text
