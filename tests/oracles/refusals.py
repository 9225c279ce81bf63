"""Queries of which a word or two are wrong: refused in SQL's words, with a code of its own, or answered."""

import re

from dialect import Constructs
from engines import Refused
from queries import Queries
from report import signature
from tree import SLIPHER

TOKEN = re.compile(r"'(?:[^']|'')*'|\w+|::|<=|>=|<>|\|\||\S")
TOKENS_MAX = 400
ODD = ["NULL", "'x'", "1", "1.5", "*", "(SELECT 1)", "(1, 2)", "true", "DATE '2024-01-01'", "interval '1 day'", "count(*)", "sum(1) OVER ()", "x1.id", "f1", "$1", "-", "=",
       "DISTINCT", "::date", "::int", "::timetz", "current_date", "PRIOR", "level"]
# What the engine calls its types and parts, and what is nobody's business.
INWARD = re.compile(r"Utf8|Date32|U?Int(8|16|32|64)\b|Float(32|64)\b|Time64|Decimal128|Timestamp\(|Microsecond|Column ?\{|\bExpr|LogicalPlan|slipher_|slipher\$|__\w|UDF|[Dd]ata[Ff]usion|"
                    r"[Ii]nternal|Physical|Arrow|ScalarValue|Some\(|Schema|AggregateFunction|WindowFunction|Placeholder|Signature")


class Refusals:
    """One trial asks a few of them."""

    name = "refusals"

    def __init__(self, slipher, report):
        self.slipher, self.report = slipher, report

    def trial(self, rng, world, seed):
        maker = Constructs(rng, world.tables) if rng.random() < 0.6 else Queries(rng, world.tables)
        tokens = TOKEN.findall(maker.top().tree.sql(SLIPHER))
        if len(tokens) > TOKENS_MAX:
            return
        for _ in range(rng.randint(5, 15)):
            self.ask(" ".join(changed(rng, tokens)).replace(" :: ", "::").replace(" . ", "."), world, seed)

    def ask(self, sql, world, seed):
        self.report.count("odd queries")
        try:
            self.slipher.ask(sql)
            return
        except Refused as error:
            kind = self.kind(error)
        if kind and self.report.is_new(kind):
            self.report.is_printed(kind, kind)
            self.report.finding(self.name, seed, kind, f"{world.script(used=sql)}\n\n{sql};\n{kind}")

    @staticmethod
    def kind(error):
        # Names are the user's own.
        bare = re.sub(r'"[^"]*"', '"…"', error.message)
        if error.code in ("XX000", "lost") or INWARD.search(bare):
            return f"refused with {error.code} {signature(error.message)}"
        return None


def changed(rng, tokens):
    """One or two tokens less, more, or others."""
    tokens = list(tokens)
    for _ in range(rng.randint(1, 2)):
        place, choice = rng.randrange(len(tokens)), rng.random()
        if choice < 0.25 and len(tokens) > 1:
            del tokens[place]
        elif choice < 0.55:
            tokens[place] = rng.choice(tokens)
        elif choice < 0.85:
            tokens[place] = rng.choice(ODD)
        else:
            tokens.insert(place, rng.choice(ODD))
    return tokens
