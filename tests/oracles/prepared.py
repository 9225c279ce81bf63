"""Random queries, prepared: with parameters in place of constants, executed several times. Plans are kept from the second time on."""

import re

from answers import difference
from differential import LOOSE, Differential
from dialect import Constructs
from queries import Queries, Query
from tree import DUCKDB, POSTGRES, Node

CONSTANT = re.compile(r"\(?-?\d+\)?|'[^']*'::(float8|date|timestamp|varchar\(\d+\)|decimal\(\d+,\d+\))")
DECLARED = {"int": "integer", "flt": "float8", "date": "date", "ts": "timestamp", "txt": "varchar(60)"}
EXECUTIONS = 3
MARK = "\n-- "


class Prepared(Differential):
    """One trial asks a query with parameters."""

    name = "prepared"

    def __init__(self, slipher, references, report):
        super().__init__(Preparing(slipher, report), references, report)

    def query(self, rng, world):
        query = Queries(rng, world.tables).top() if rng.random() < 0.6 else Constructs(rng, world.tables).top()
        tree, types, values = query.tree, [], []
        for place in list(tree.below()):
            text = place.sql("slipher") if place.type and not place.children() and place.parts else ""
            if len(values) == 5 or not CONSTANT.fullmatch(text) or rng.random() < 0.4 or place.type.name not in DECLARED and place.type.name != "dec":
                continue
            types.append(DECLARED.get(place.type.name) or f"decimal({place.type.precision},{place.type.scale})")
            values.append(text)
            tree = tree.replaced(place, Node(place.kind, [f"${len(values)}"], {POSTGRES: [text], DUCKDB: [text]}, place.type))
        marked = Node("query", [tree, f"{MARK}{', '.join(types)}{MARK}{', '.join(values)}"], {POSTGRES: [tree], DUCKDB: [tree]})
        return Query(marked if values else tree, query.types, query.ordered, query.rows)


class Preparing:
    """Slipher, where a query with parameters is prepared and executed."""

    def __init__(self, slipher, report):
        self.slipher, self.report = slipher, report
        self.dialect, self.name, self.run = slipher.dialect, slipher.name, slipher.run

    def ask(self, sql):
        if MARK not in sql:
            return self.slipher.ask(sql)
        query, types, values = sql.split(MARK)
        self.slipher.run(f"PREPARE oracle ({types}) AS {query}")
        try:
            answers = [self.slipher.ask(f"EXECUTE oracle ({values})") for _ in range(EXECUTIONS)]
        finally:
            self.slipher.run("DEALLOCATE oracle")
        self.report.count("executions of prepared queries", EXECUTIONS)
        # What differs from the first answer is what is compared.
        types = [LOOSE] * len((answers[0] or [()])[0])
        return next((answer for answer in answers if difference(answers[0], answer, types, False)), answers[0])
