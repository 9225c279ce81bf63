"""Queries that a system does not take as they are, each with the reason. The report lists them."""

from common import query_text

# (system, query): (reason, text, its replacement)
REWRITES = {
    ("clickhouse", 8): (
        "a quotient of decimals keeps the dividend's scale, here 4 digits; the division is done on Float64 instead",
        "sum(case when nation = 'BRAZIL' then volume else 0 end) / sum(volume)",
        "toFloat64(sum(case when nation = 'BRAZIL' then volume else 0 end)) / toFloat64(sum(volume))",
    ),
}


def query_for(system, number):
    """The text of a query for a system."""
    text = query_text(number)
    if (system, number) in REWRITES:
        _, old, new = REWRITES[(system, number)]
        if old not in text:
            raise ValueError(f"the rewrite of query {number} for {system} no longer fits its text")
        text = text.replace(old, new)
    return text
