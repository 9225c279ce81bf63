"""Ternary logic partitioning: rows where a condition is true, where it is false and where it is unknown are all rows."""

import aggregates
from answers import canonical
from expressions import Expressions, node, output_type
from kinds import BOOL, FLT, INT, Type
from queries import Queries, Subqueries
from relations import Relation
from tree import SLIPHER, List, Node

# How an aggregate of all rows follows from those of the three parts.
COMBINED = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}


class Partitions(Relation):
    """Over rows, DISTINCT, groups and aggregates."""

    name = "partitions"

    def trial(self, rng, world, seed):
        queries = Queries(rng, world.tables)
        source, columns, _, _ = queries.sources(1)
        inner = Expressions(rng, columns, subquery=Subqueries(queries, 1))
        condition = inner.make(BOOL, 3)
        plain = Expressions(rng, columns)
        shape = rng.choice(["rows", "rows", "distinct", "groups", "aggregate", "aggregate", "having"])
        if shape == "aggregate":
            self.aggregates(rng, plain, source, condition, world, seed)
        elif shape == "having":
            self.having(rng, columns, source, world, seed)
        else:
            self.rows(rng, shape, plain, source, condition, world, seed)

    def rows(self, rng, shape, plain, source, condition, world, seed):
        types = [output_type(rng, plain.types()) for _ in range(rng.randint(1, 3))]
        if shape == "groups":
            # The keys that a part of the rows has are the keys of that part.
            columns = rng.sample(plain.columns, min(len(plain.columns), len(types)))
            types = [column.type for column in columns]
            items = [Node(None, [column.sql]) for column in columns]
            behind = [" GROUP BY ", *self.separated(items)]
        else:
            items, behind = [plain.make(type, 2) for type in types], []
        word = "DISTINCT " if shape == "distinct" else ""
        tree = Node(None, ["SELECT ", word, *self.separated(items), " FROM ", source, Parts(condition), *behind])
        united = rng.random() < 0.4 and shape == "rows"
        combine = None if shape == "rows" else lambda rows, types: distinct_rows(rows, types)

        def sides(tree):
            whole, parts = in_parts(tree)
            return [whole], [" UNION ALL ".join(f"({part})" for part in parts)] if united else parts, types

        self.check(tree, sides, world, seed, combine)

    @staticmethod
    def separated(items):
        return [part for item in items for part in (item, ", ")][:-1]

    def aggregates(self, rng, plain, source, condition, world, seed):
        kinds, items, types = [], [], []
        for _ in range(rng.randint(1, 3)):
            kind, type = rng.choice([("count", INT), ("sum", INT), ("min", None), ("max", None), ("sum", FLT)])
            type = type or rng.choice([type for type in plain.types() if type != BOOL] or [INT])
            argument = [plain.make(type, 1)] + (["::float8"] if type == FLT else [])
            kinds.append(kind)
            types.append(type)
            items.append(node(type, f"{kind}(", *argument, ")"))
        tree = Node(None, ["SELECT ", *self.separated(items), " FROM ", source, Parts(condition)])

        def sides(tree):
            whole, parts = in_parts(tree)
            return [whole], parts, types

        self.check(tree, sides, world, seed, lambda rows, types: [combined(rows, kinds, types)])

    def having(self, rng, columns, source, world, seed):
        """The same with HAVING: groups instead of rows."""
        plain = Expressions(rng, columns)
        key = rng.choice(columns)
        after = Expressions(rng, [], [lambda type: node(type, key.sql) if type == key.type else None, lambda type: aggregates.aggregate(rng, plain, type)])
        condition = after.make(BOOL, 2)
        tree = Node(None, [f"SELECT {key.sql}, count(*) FROM ", source, f" GROUP BY {key.sql}", Parts(condition, " HAVING ")])

        def sides(tree):
            whole, parts = in_parts(tree)
            return [whole], parts, [key.type, INT]

        self.check(tree, sides, world, seed)


class Parts(Node):
    """A condition that is left out, asked for, denied, and unknown in turn."""

    def __init__(self, condition, word=" WHERE "):
        super().__init__(None, [word, condition])

    def replaced(self, old, new):
        condition = self.parts[1].replaced(old, new)
        return self if condition is self.parts[1] else Parts(condition, self.parts[0])

    def write(self, dialect, out):
        out.append("\0")
        super().write(dialect, out)
        out.append("\0")


def in_parts(tree):
    """The text without the condition, and the three with it."""
    before, condition, behind = tree.sql(SLIPHER).split("\0")
    word = " HAVING " if condition.startswith(" HAVING ") else " WHERE "
    condition = condition.removeprefix(word)
    forms = (f"{condition}", f"NOT ({condition})", f"({condition}) IS NULL")
    return before + behind, [f"{before}{word}{form}{behind}" for form in forms]


def distinct_rows(rows, types):
    """Rows without those that are the same."""
    seen = {}
    for row in rows:
        seen.setdefault(tuple(canonical(value, type) for value, type in zip(row, types)), row)
    return list(seen.values())


def combined(rows, kinds, types):
    """The aggregate of all from those of the parts, as text."""
    cells = []
    for index, (kind, type) in enumerate(zip(kinds, types)):
        values = [row[index] for row in rows if row[index] is not None]
        if not values:
            cells.append(None)
        elif COMBINED[kind] == "sum":
            cells.append(str(sum(canonical(value, type) for value in values)))
        else:
            pick = min if kind == "min" else max
            cells.append(pick(values, key=lambda value: order_of(canonical(value, type))))
    return tuple(cells)


def order_of(value):
    """NaN is larger than every number; text goes by its bytes."""
    if value == "NaN":
        return float("inf"), 1
    return (value.encode() if isinstance(value, str) else value), 0
