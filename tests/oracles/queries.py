"""Random queries: FROM with joins of all kinds, subqueries, grouping, windows, set operations, CTEs, ORDER BY with LIMIT."""

import aggregates
from expressions import Expressions, node, output_type, partners
from kinds import BIG, BLK, BOOL, CHR, DATE, FLT, FUZZY, INT, NAN, TS, TXT, Column, dec
from tables import INTEGER_BOUND
from tree import DUCKDB, List, Node

# Rows that a join may yield as far as the generator can tell.
JOINED_ROWS_MAX = 4_000


class Source:
    """Something in FROM: its text, its columns, and at most how many rows it has."""

    def __init__(self, alias, columns, rows, tree):
        self.alias, self.columns, self.rows, self.tree = alias, columns, rows, tree


class Query:
    """A query and what its answer looks like."""

    def __init__(self, tree, types, ordered, rows):
        self.tree, self.types, self.ordered, self.rows = tree, types, ordered, rows

    def with_tree(self, tree):
        return Query(tree, self.types, self.ordered, self.rows)


class Queries:
    """Makes queries over the tables of a world."""

    def __init__(self, rng, tables):
        self.rng, self.tables, self.names, self.ctes = rng, tables, 0, []
        self.own_names = False

    def alias(self, letter="x"):
        self.names += 1
        return f"{letter}{self.names}"

    def column_types(self):
        return [column.type for table in self.tables for column in table.columns]

    # FROM.

    def table(self):
        rng = self.rng
        if self.ctes and rng.random() < 0.5:
            name, columns, rows = rng.choice(self.ctes)
            alias = self.alias()
            columns = [Column(f"{alias}.{column.sql}", column.type, column.bound) for column in columns]
            return Source(alias, columns, rows, Node("from", [f"{name} AS {alias}"]))
        table = rng.choice(self.tables)
        # Now and then under its own name, with the schema in front of columns or not.
        if rng.random() < 0.1 and not self.own_names:
            self.own_names = True
            last = table.name if rng.random() < 0.5 else table.name.split(".")[-1]
            return Source(last, [column.as_column(last) for column in table.columns], len(table.rows), Node("from", [table.name]))
        alias = self.alias()
        columns = [column.as_column(alias) for column in table.columns]
        return Source(alias, columns, len(table.rows), Node("from", [f"{table.name} AS {alias}"]))

    def derived(self, depth):
        """A subquery in FROM."""
        query = self.select(depth - 1, count=self.rng.randint(1, 4), fuzzy=False)
        if self.rng.random() < 0.15:
            query.tree = self.ordered(query.tree, len(query.types))
        alias = self.alias("d")
        columns = [Column(f"{alias}.{name}", type) for name, type in zip(names(query.types), query.types)]
        return Source(alias, columns, query.rows, Node("from", ["(", query.tree, f") AS {alias}"]))

    def sources(self, depth):
        """What FROM lists: the tree, all columns, the columns that together are unique (None: unknown), rows at most."""
        rng = self.rng
        first = self.source(depth)
        tree, columns, rows = first.tree, list(first.columns), first.rows
        keys = [first]
        while rng.random() < 0.5 and len(keys) < 4:
            other = self.source(depth)
            if rows * max(other.rows, 1) > JOINED_ROWS_MAX:
                break
            tree = self.join(tree, columns, other)
            columns, rows = columns + other.columns, max(rows, 1) * max(other.rows, 1)
            keys.append(other)
        if rng.random() < 0.08 and rows <= 500:
            # A comma ends it: what is joined after one does not see what stands before.
            other = self.table()
            tree, columns, rows = Node("from", [tree, ", ", other.tree]), columns + other.columns, rows * max(other.rows, 1)
            keys.append(other)
        unique = [next((column.sql for column in source.columns if column.unique), None) for source in keys]
        return tree, columns, None if None in unique else unique, rows

    def source(self, depth):
        return self.derived(depth) if depth > 0 and self.rng.random() < 0.25 else self.table()

    def join(self, tree, columns, other):
        rng = self.rng
        kind = rng.choice(["JOIN", "JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"])
        shared = [name for name in ("id", "k") if sum(column.sql.endswith("." + name) for column in columns) == 1]
        if kind != "CROSS JOIN" and "FULL" not in kind and shared and rng.random() < 0.1 and any(column.sql.endswith(".k") for column in other.columns):
            return Node("from", [tree, f" {kind} ", other.tree, f" USING ({rng.choice(shared)})"])
        if kind == "CROSS JOIN":
            return Node("from", [tree, " CROSS JOIN ", other.tree])
        equal = self.equality(columns, other.columns, plain=kind == "FULL JOIN")
        conditions = [equal] if equal and rng.random() < 0.85 else []
        if kind == "FULL JOIN" and not conditions:
            kind = "LEFT JOIN"
        if not conditions or (kind != "FULL JOIN" and rng.random() < 0.3):
            conditions.append(Expressions(rng, columns + other.columns).make(BOOL, 2))
        return Node("from", [tree, f" {kind} ", other.tree, " ON ", List(conditions, separator=" AND ", least=1)])

    def equality(self, left, right, plain=False):
        """An equality between columns of two sides, or of expressions over them."""
        mixed = self.rng.random() < 0.15 and not plain
        fit = (lambda a, b: b in partners(a)) if mixed else (lambda a, b: a == b)
        pairs = [(a, b) for a in left for b in right if fit(a.type, b.type) and a.type not in (BOOL,)]
        if not pairs:
            return None
        first, second = self.rng.choice(pairs)
        if self.rng.random() < 0.2 and not plain:
            one, two = Expressions(self.rng, left), Expressions(self.rng, right)
            return node(BOOL, "(", one.make(first.type, 1), " = ", two.make(second.type, 1), ")")
        return node(BOOL, "(", first.sql, " = ", second.sql, ")")

    # SELECT.

    def top(self):
        """A whole query with CTEs, set operations, a full order and LIMIT, each now and then."""
        rng = self.rng
        self.ctes = []
        ctes = []
        if rng.random() < 0.2:
            for _ in range(rng.randint(1, 2)):
                query = self.select(1, count=rng.randint(2, 4), fuzzy=False)
                name = self.alias("w")
                columns = [Column(column, type) for column, type in zip(names(query.types), query.types)]
                ctes.append(Node(None, [f"{name} AS (", query.tree, ")"]))
                self.ctes.append((name, columns, query.rows))
        query = self.set_operation(2) if rng.random() < 0.2 else self.select(2)
        tree = Node("query", [List(ctes, "WITH ", after=" "), query.tree])
        if FUZZY not in query.types and rng.random() < 0.4:
            return Query(self.ordered(tree, len(query.types)), query.types, True, query.rows)
        return Query(tree, query.types, False, query.rows)

    def ordered(self, tree, count):
        """Sorted by all columns: no two rows whose order is open differ. Then LIMIT and OFFSET mean the same everywhere."""
        rng = self.rng
        order = rng.sample(range(1, count + 1), count)
        keys = List([Node(None, [str(key), rng.choice(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])]) for key in order], least=count)
        limit = rng.choice(["", f" LIMIT {rng.randint(0, 20)}", f" LIMIT {rng.randint(1, 20)} OFFSET {rng.randint(0, 10)}"])
        return Node("query", [tree, " ORDER BY ", keys, limit])

    def set_operation(self, depth, types=None):
        rng = self.rng
        types = types or [output_type(rng, self.column_types()) for _ in range(rng.randint(1, 3))]
        # Numbers beside floats are floats.
        others = [rng.choice([INT, dec(8, 2), FLT]) if type == FLT and rng.random() < 0.4 else type for type in types]
        left, right = self.select(depth - 1, types=types, fuzzy=False), self.select(depth - 1, types=others, fuzzy=False)
        word = rng.choice([" UNION ALL ", " UNION ", " INTERSECT ", " EXCEPT "])
        tree = Node("query", ["(", left.tree, ")", word, "(", right.tree, ")"])
        return Query(tree, types, False, left.rows + right.rows)

    def select(self, depth, types=None, count=None, outer=(), fuzzy=True):
        """One SELECT. `types`: what it must yield; `outer`: columns of the query around it."""
        rng = self.rng
        tree, columns, unique, rows = self.sources(depth)
        inner = Expressions(rng, columns, subquery=Subqueries(self, depth))
        if types is None:
            count = count or rng.randint(1, 5)
            types = [output_type(rng, inner.types()) for _ in range(count)]
        where = [inner.make(BOOL, rng.randint(1, 3))] if rng.random() < 0.45 else []
        if outer and rng.random() < 0.25:
            where.append(Expressions(rng, [*outer, *columns]).make(BOOL, 2))
        elif outer and (linked := self.equality(list(outer), columns)):
            where.append(linked)
        where = List(where, " WHERE ", " AND ")
        if rng.random() < 0.35:
            return self.grouped(tree, columns, unique, rows, inner, where, types, fuzzy and not outer)
        more = []
        if rng.random() < 0.3:
            windows = Expressions(rng, columns)
            more = [lambda type: aggregates.window(rng, windows, type, unique)]
        items = Expressions(rng, columns, more, inner.subquery if rng.random() < 0.3 else None)
        distinct = "DISTINCT " if rng.random() < 0.12 else ""
        expressions = [items.make(type, rng.randint(0, 3)) for type in types]
        return Query(Node("query", ["SELECT ", distinct, select_list(expressions), " FROM ", tree, where]), types, False, rows)

    def grouped(self, tree, columns, unique, rows, inner, where, types, fuzzy):
        """GROUP BY with aggregates: plain, GROUPING SETS, ROLLUP, CUBE, or of everything."""
        rng = self.rng
        plain = Expressions(rng, columns)
        keys = []
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            column = rng.choice(columns)
            key = node(column.type, column.sql) if rng.random() < 0.7 else self.keyed(plain, column)
            if all(key.sql("slipher") != other.sql("slipher") for other in keys):
                keys.append(key)
        fitting = lambda type: [key for key in keys if key.type == type]
        key_leaf = lambda type: rng.choice(fitting(type)) if fitting(type) else None
        aggregate_leaf = lambda type: aggregates.aggregate(rng, plain, type)
        after = Expressions(rng, [], [key_leaf, aggregate_leaf, aggregate_leaf])
        expressions = [after.make(type, rng.randint(0, 2)) for type in types]
        if keys and rng.random() < 0.15:
            over = Expressions(rng, [], [key_leaf, aggregate_leaf])
            expressions = [aggregates.window(rng, over, type, None, filtered=False) or made for type, made in zip(types, expressions)]
        if fuzzy and rng.random() < 0.15:
            expressions.append(aggregates.fuzzy_aggregate(rng, plain))
            types = [*types, FUZZY]
        elif fuzzy and unique and rng.random() < 0.1:
            order = Node(None, [", ".join(unique)])
            expressions.append(aggregates.listed(rng, plain, order))
            types = [*types, TXT]
        having = List([after.make(BOOL, 2)] if rng.random() < 0.25 else [], " HAVING ")
        parts = ["SELECT ", select_list(expressions), " FROM ", tree, where, group_by(rng, keys), having]
        return Query(Node("query", parts), types, False, rows)

    def keyed(self, plain, column):
        """An expression over a column to group by: never a constant alone, which would be a position."""
        made = plain.make(column.type, 2)
        text = node(column.type, "coalesce(", node(column.type, column.sql), ", ", made, ")")
        return text


def names(types):
    return [f"f{index}" for index in range(1, len(types) + 1)]


def select_list(expressions):
    items = [Node(None, [expression, f" AS f{index}"]) for index, expression in enumerate(expressions, 1)]
    return List(items, least=1)


def group_by(rng, keys):
    if not keys:
        return List([])
    plain = List(keys, " GROUP BY ")
    if len(keys) == 1 and rng.random() < 0.8:
        return plain
    choice = rng.randint(0, 5)
    if choice == 0:
        return Node(None, [" GROUP BY ROLLUP (", List(keys, least=1), ")"])
    if choice == 1:
        return Node(None, [" GROUP BY CUBE (", List(keys, least=1), ")"])
    if choice == 2:
        sets = [List([key], "(", after=")", least=1) for key in keys]
        sets.append(Node(None, ["()"]))
        if len(keys) > 1:
            sets.append(List(keys, "(", after=")", least=1))
        return Node(None, [" GROUP BY GROUPING SETS (", List(sets, least=1), ")"])
    return plain


class Subqueries:
    """Subqueries in expressions: EXISTS, IN, NOT IN, scalar; correlated or not."""

    def __init__(self, queries, depth):
        self.queries, self.depth, self.rng = queries, depth, queries.rng

    def outer(self, columns):
        return columns if self.rng.random() < 0.5 else ()

    def condition(self, expressions, columns, depth):
        if self.depth <= 0:
            return None
        rng, queries = self.rng, self.queries
        choice = rng.randint(0, 2)
        if choice == 0:
            query = queries.select(self.depth - 1, count=1, outer=self.outer(columns), fuzzy=False)
            return exists(rng, query.tree)
        type = expressions.some_type()
        if rng.random() < 0.08:
            types = [type, expressions.some_type()]
            query = queries.select(self.depth - 1, types=types, outer=self.outer(columns), fuzzy=False)
            row = [expressions.make(types[0], 1), ", ", expressions.make(types[1], 1)]
            # DuckDB takes NULL in a row for a value.
            return node(BOOL, "((", *row, rng.choice([") IN (", ") NOT IN ("]), query.tree, "))", duckdb=None)
        query = queries.select(self.depth - 1, types=[type], outer=self.outer(columns), fuzzy=False)
        key = expressions.make(type, min(depth, 1))
        if choice == 1 or rng.random() < 0.7:
            return node(BOOL, "(", key, rng.choice([" IN (", " NOT IN ("]), query.tree, "))")
        return node(BOOL, "(", key, rng.choice([" = ANY (", " <> ALL (", " > ALL (", " <= ANY ("]), query.tree, "))")

    def scalar(self, type, columns):
        """A scalar subquery: an aggregate of everything, so that there is one row."""
        if self.depth <= 0:
            return None
        rng, queries = self.rng, self.queries
        tree, inner_columns, _, _ = queries.sources(0)
        expressions = Expressions(rng, inner_columns)
        made = aggregates.aggregate(rng, expressions, type)
        if made is None:
            return None
        outer = self.outer(columns)
        where = [expressions.make(BOOL, 1)] if rng.random() < 0.5 else []
        if outer and rng.random() < 0.3:
            where.append(Expressions(rng, [*outer, *inner_columns]).make(BOOL, 2))
        elif outer and (linked := queries.equality(list(outer), inner_columns)):
            where.append(linked)
        return node(type, "(SELECT ", made, " FROM ", tree, List(where, " WHERE ", " AND "), ")")


def exists(rng, tree):
    return node(BOOL, *(["(NOT EXISTS (", tree, "))"] if rng.random() < 0.4 else ["EXISTS (", tree, ")"]))
