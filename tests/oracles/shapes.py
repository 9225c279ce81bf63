"""Correlated subqueries of every shape, in every place."""

import aggregates
from expressions import Expressions, node, output_type
from kinds import BOOL, INT, Column
from queries import Query, Subqueries, select_list
from tree import List, Node

# Rows that a subquery reads: nobody should wait for PostgreSQL.
INNER_ROWS_MAX = 300


class Shapes(Subqueries):
    """Makes subqueries for `Expressions`, in place of the plain ones; `query` makes a query that is full of them."""

    def __init__(self, queries, depth=2):
        super().__init__(queries, depth)

    def query(self):
        rng, queries = self.rng, self.queries
        tree, columns, _, rows = queries.sources(0)
        if rng.random() < 0.3:
            return self.grouped(tree, columns, rows)
        expressions = Expressions(rng, columns, subquery=self)
        types = [output_type(rng, [column.type for column in columns]) for _ in range(rng.randint(1, 3))]
        made = [self.placed(expressions, type, columns) for type in types]
        conditions = [self.condition(expressions, columns, 1) if rng.random() < 0.6 else expressions.make(BOOL, 2)] if rng.random() < 0.7 else []
        if rng.random() < 0.15:
            other = queries.table()
            both = Expressions(rng, columns + other.columns, subquery=self)
            kind = rng.choice(["JOIN", "LEFT JOIN"])
            tree = Node("from", [tree, f" {kind} ", other.tree, " ON ", List([self.condition(both, columns + other.columns, 1), both.make(BOOL, 1)], separator=" AND ", least=1)])
        return Query(Node("query", ["SELECT ", select_list(made), " FROM ", tree, List(conditions, " WHERE ")]), types, False, rows)

    def grouped(self, tree, columns, rows):
        """Subqueries beside aggregates, and in HAVING: correlated by what is grouped."""
        rng = self.rng
        keys = [rng.choice(columns)]
        plain = Expressions(rng, columns)
        types = [keys[0].type, *[output_type(rng, [column.type for column in columns]) for _ in range(rng.randint(1, 2))]]
        leaf = lambda type: aggregates.aggregate(rng, plain, type)
        after = Expressions(rng, keys, [leaf], subquery=self)
        made = [node(keys[0].type, keys[0].sql), *[self.placed(after, type, keys) for type in types[1:]]]
        having = List([self.condition(after, keys, 1)] if rng.random() < 0.6 else [], " HAVING ")
        return Query(Node("query", ["SELECT ", select_list(made), " FROM ", tree, f" GROUP BY {keys[0].sql}", having]), types, False, rows)

    def placed(self, expressions, type, columns):
        """A subquery itself, or within an expression, or in a CASE."""
        rng = self.rng
        choice = rng.randint(0, 3)
        made = self.scalar(type, columns)
        if made is None or choice == 0:
            return expressions.make(type, 2)
        if choice == 1:
            return made
        if choice == 2:
            return node(type, "CASE WHEN ", self.condition(expressions, columns, 1), " THEN ", made, " ELSE ", expressions.make(type, 1), " END")
        return node(type, "coalesce(", made, ", ", expressions.make(type, 1), ")")

    def correlated(self, outer, columns, deeper=()):
        """WHERE of a subquery: equality, inequality, OR, or anything over both."""
        rng = self.rng
        all_columns = [*outer, *deeper, *columns]
        choice = rng.randint(0, 4)
        conditions = []
        linked = self.queries.equality(list(outer), columns)
        if choice <= 1 and linked:
            conditions.append(linked)
        elif choice == 2:
            conditions.append(Expressions(rng, all_columns).comparison(1))
        elif choice == 3 and linked:
            conditions.append(node(BOOL, "(", linked, " OR ", Expressions(rng, all_columns).make(BOOL, 1), ")"))
        else:
            conditions.append(Expressions(rng, all_columns).make(BOOL, 2))
        if rng.random() < 0.3:
            conditions.append(Expressions(rng, columns, subquery=Shapes(self.queries, self.depth - 1)).make(BOOL, 2))
        if self.depth > 1 and rng.random() < 0.2:
            # Another level, which sees both.
            inner = Shapes(self.queries, self.depth - 1)
            conditions.append(inner.condition(Expressions(rng, columns), all_columns, 1) or node(BOOL, "true"))
        return List(conditions, " WHERE ", " AND ")

    def source(self):
        """A table, or a few, with what is unique in them."""
        queries = self.queries
        while True:
            tree, columns, unique, rows = queries.sources(0)
            if rows <= INNER_ROWS_MAX:
                return tree, columns, unique
            # Joins of large tables are rare: another choice comes soon.

    def scalar(self, type, columns):
        """One value for each row outside."""
        if self.depth <= 0:
            return None
        rng = self.rng
        tree, inner, unique = self.source()
        where = self.correlated(columns, inner)
        both = Expressions(rng, [*inner, *(columns if rng.random() < 0.3 else ())])
        made = aggregates.aggregate(rng, Expressions(rng, inner), type)
        choice = rng.randint(0, 6)
        if choice == 0 and unique:
            order = ", ".join(unique)
            limit = rng.choice(["LIMIT 1", "LIMIT 1", "LIMIT 1 OFFSET 1", "LIMIT 0"])
            direction = rng.choice(["", " DESC"])
            return node(type, "(SELECT ", both.make(type, 1), " FROM ", tree, where, f" ORDER BY {order}{direction} {limit})")
        if made is None:
            return None
        if choice == 1 and unique:
            # Over numbered rows.
            alias = self.queries.alias("d")
            window = aggregates.window(rng, Expressions(rng, inner), INT, unique) or node(INT, "1")
            return self.over(type, alias, ["SELECT ", both.make(type, 1), " AS f1, ", window, " AS f2 FROM ", tree, where], [type, INT])
        if choice == 2:
            alias = self.queries.alias("d")
            return self.over(type, alias, ["SELECT DISTINCT ", both.make(type, 1), " AS f1 FROM ", tree, where], [type])
        if choice == 3:
            alias = self.queries.alias("d")
            other, others, _ = self.source()
            return self.over(type, alias, ["SELECT ", both.make(type, 1), " AS f1 FROM ", tree, where, rng.choice([" UNION ALL SELECT ", " UNION SELECT ", " EXCEPT SELECT "]),
                                           Expressions(rng, others).make(type, 1), " FROM ", other, self.correlated(columns, others)], [type])
        if choice == 4:
            # A group for each key; the largest of what they yield.
            alias, key = self.queries.alias("d"), rng.choice(inner)
            having = List([node(BOOL, "(count(*) > ", str(rng.randint(0, 2)), ")")] if rng.random() < 0.4 else [], " HAVING ")
            return self.over(type, alias, ["SELECT ", made, f" AS f1 FROM ", tree, where, f" GROUP BY {key.sql}", having], [type])
        if choice == 5 and unique:
            alias = self.queries.alias("d")
            return self.over(type, alias, ["SELECT ", both.make(type, 1), " AS f1 FROM ", tree, where, f" ORDER BY {', '.join(unique)} LIMIT {rng.randint(1, 4)}"], [type])
        return node(type, "(SELECT ", made, " FROM ", tree, where, ")")

    def over(self, type, alias, parts, types):
        """An aggregate over a derived table."""
        columns = [Column(f"{alias}.f{index}", column) for index, column in enumerate(types, 1)]
        made = aggregates.aggregate(self.rng, Expressions(self.rng, columns), type)
        where = List([Expressions(self.rng, columns).make(BOOL, 1)] if self.rng.random() < 0.3 else [], " WHERE ")
        return node(type, "(SELECT ", made, " FROM (", *parts, f") AS {alias}", where, ")")

    def condition(self, expressions, columns, depth):
        """EXISTS, IN, a comparison with ANY or ALL, or with a value."""
        if self.depth <= 0:
            return None
        rng = self.rng
        choice = rng.randint(0, 4)
        tree, inner, unique = self.source()
        where = self.correlated(columns, inner)
        limit = f" ORDER BY {', '.join(unique)} LIMIT {rng.randint(0, 3)} OFFSET {rng.randint(0, 2)}" if unique and rng.random() < 0.25 else ""
        if choice == 0:
            what = rng.choice(["1", "*", inner[0].sql])
            return self.existing(rng.random() < 0.4, [f"SELECT {what} FROM ", tree, where, limit])
        type = expressions.some_type()
        if choice == 1:
            made = self.scalar(type, columns)
            if made is not None:
                return node(BOOL, "(", expressions.make(type, 1), rng.choice([" = ", " < ", " >= ", " <> "]), made, ")")
        key = expressions.make(type, min(depth, 1))
        if choice == 2 and rng.random() < 0.5:
            # Of groups.
            made = aggregates.aggregate(rng, Expressions(rng, inner), type)
            if made is not None:
                return node(BOOL, "(", key, rng.choice([" IN (", " NOT IN ("]), "SELECT ", made, " FROM ", tree, where, f" GROUP BY {rng.choice(inner).sql}", "))")
        value = Expressions(rng, inner).make(type, 1)
        if choice == 3:
            return node(BOOL, "(", key, rng.choice([" = ANY (", " <> ALL (", " > ALL (", " <= ANY (", " < ALL ("]), "SELECT ", value, " FROM ", tree, where, limit, "))")
        if rng.random() < 0.15:
            other = expressions.some_type()
            row = ["(", key, ", ", expressions.make(other, 1), ")"]
            return node(BOOL, "(", *row, rng.choice([" IN (", " NOT IN ("]), "SELECT ", value, ", ", Expressions(rng, inner).make(other, 1), " FROM ", tree, where, "))", duckdb=None)
        return node(BOOL, "(", key, rng.choice([" IN (", " NOT IN ("]), "SELECT ", value, " FROM ", tree, where, limit, "))")

    @staticmethod
    def existing(negated, parts):
        return node(BOOL, *(["(NOT EXISTS (", *parts, "))"] if negated else ["EXISTS (", *parts, ")"]))
