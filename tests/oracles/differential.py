"""Random queries: Slipher's answer against PostgreSQL's, or DuckDB's where PostgreSQL has no such construct."""

from answers import difference, table
from engines import Refused
from kinds import Type
from queries import Queries
from report import signature
from shrink import fewer_rows, shrink
from tree import DUCKDB, POSTGRES, Absent
from world import Narrowed

LOOSE = Type("loose", "loose", None)


class Differential:
    """One trial asks all engines one query."""

    name = "differential"

    def __init__(self, slipher, references, report):
        self.slipher, self.references, self.report = slipher, references, report

    def trial(self, rng, world, seed):
        query = self.query(rng, world)
        for dialect in (POSTGRES, DUCKDB):
            reference = self.references.get(dialect)
            # DuckDB is asked what PostgreSQL cannot be, and a few others.
            if reference is None or (dialect == DUCKDB and POSTGRES in self.references and self.can(query, POSTGRES)):
                continue
            if self.can(query, dialect):
                self.compare(query, reference, world, seed)
                return
        self.report.count("no reference has this construct")

    def query(self, rng, world):
        """What is asked."""
        return Queries(rng, world.tables).top()

    @staticmethod
    def can(query, dialect):
        try:
            query.tree.sql(dialect)
            return True
        except Absent:
            return False

    def compare(self, query, reference, world, seed):
        try:
            expected = reference.ask(query.tree.sql(reference.dialect))
        except Refused as error:
            self.report.invalid_query(error)
            return
        kind, words, actual = self.judge(query, expected)
        self.report.count(f"queries compared with {reference.name}")
        if kind is None:
            return
        sql = query.tree.sql(self.slipher.dialect)
        long_kind = kind_of_query(kind, sql)
        if self.report.is_known(self.name, sql, kind, words) or not self.report.is_new(long_kind):
            return
        smallest = self.smallest(query, reference, kind)
        sql = smallest.tree.sql(self.slipher.dialect)
        if self.report.is_known(self.name, sql, kind, words) or self.report.is_printed(long_kind, kind_of_query(kind, sql)):
            return
        tables = fewer_rows(world.used(sql), lambda tables: self.differs_on(tables, smallest, reference, kind))
        with Narrowed([self.slipher, reference], tables):
            self.print(smallest, reference, world.script(used=sql, tables=tables), seed, kind, query.tree.sql(self.slipher.dialect))

    def differs_on(self, tables, query, reference, kind):
        """Whether the answers still differ in the same way when the tables have only these rows."""
        with Narrowed([self.slipher, reference], tables):
            try:
                expected = reference.ask(query.tree.sql(reference.dialect))
            except Refused:
                return False
            return self.judge(query, expected)[0] == kind

    def judge(self, query, expected):
        """(None, "", rows) when Slipher agrees; else the kind of difference, in words, and the rows."""
        try:
            actual = self.slipher.ask(query.tree.sql(self.slipher.dialect))
        except Refused as error:
            if error.is_unsupported():
                self.report.refused(error)
                return None, "", None
            if error.code == "57014":
                self.report.slow(query.tree.sql(self.slipher.dialect))
                return None, "", None
            return f"error {error.code} {signature(error.message)}", error.message, None
        width = len((expected or actual or [()])[0])
        types = query.types if len(query.types) == width else [LOOSE] * width
        words = difference(expected, actual, types, query.ordered)
        if not words:
            return None, "", actual
        # A smaller query whose order is no longer complete is no finding of its own.
        return ("wrong order" if words.endswith("in another order") else "wrong answer"), words, actual

    def smallest(self, query, reference, kind):
        """A smaller query that differs in the same way."""

        def fails(tree, ordered):
            candidate = query.with_tree(tree)
            candidate.ordered = ordered
            try:
                expected = reference.ask(tree.sql(reference.dialect))
            except Refused:
                return False
            return self.judge(candidate, expected)[0] == kind

        ordered = query.ordered
        whole = query.tree.parts[0]
        if ordered and not isinstance(whole, str) and fails(whole, False):
            query, ordered = query.with_tree(whole), False
        if ordered:
            query.tree.kind = None
        query = query.with_tree(shrink(query.tree, lambda tree: fails(tree, ordered)))
        query.ordered = ordered
        return query

    def print(self, query, reference, script, seed, kind, whole):
        sql = query.tree.sql(self.slipher.dialect)
        other = query.tree.sql(reference.dialect)
        try:
            expected = reference.ask(other)
            _, words, actual = self.judge(query, expected)
        except Refused as error:
            expected, words, actual = [], str(error), None
        lines = [script, "", sql + ";", "", f"{reference.name} answers"]
        lines += [f"  (asked: {other})"] if other != sql else []
        lines += [table(expected), f"Slipher answers: {words}", "" if actual is None else table(actual)]
        lines += ["", "Found with:", whole] if whole != sql else []
        self.report.finding(self.name, seed, kind, "\n".join(lines))


def kind_of_query(kind, sql):
    """Findings of one kind are printed once: wrong answers by the constructs that take part."""
    if kind not in ("wrong answer", "wrong order"):
        return kind
    marks = ["OVER", "GROUP BY", "ROLLUP", "CUBE", "GROUPING SETS", " IN (SELECT", "EXISTS", "UNION", "INTERSECT", "EXCEPT", "FULL JOIN", "IGNORE NULLS",
             "FILTER", "DISTINCT", "LIMIT", "HAVING", "WITH ", " ANY (", " ALL (", "(SELECT"]
    return kind + ": " + ", ".join(mark.strip() for mark in marks if mark in sql)
