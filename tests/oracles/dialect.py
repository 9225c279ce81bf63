"""Random queries with what Redshift has and PostgreSQL has not, or writes otherwise: the tree has PostgreSQL's way of saying it.

PIVOT becomes aggregates with FILTER, CONNECT BY a recursive query, QUALIFY a subquery, a lateral alias the expression it stands for.
"""

import aggregates
import collections_of_rows
import hierarchies
from differential import Differential
from expressions import Expressions, node, output_type
from kinds import BOOL, DATE, FLT, INT, TS, TXT, Column, dec
from queries import Queries, Query, Subqueries, select_list
from shapes import Shapes
from tree import DUCKDB, POSTGRES, SLIPHER, List, Node

PLAIN = [INT, INT, FLT, BOOL, TXT, DATE, TS, dec(12, 2)]


class Dialect(Differential):
    """One trial asks a query of Redshift's dialect."""

    name = "dialect"

    def query(self, rng, world):
        return Constructs(rng, world.tables).top()


def either(slipher, reference):
    """A query in Redshift's form and in that of the others."""
    return Node("query", slipher, {POSTGRES: reference, DUCKDB: reference})


def standing_for(name, expression):
    """A name that the references do not know: there, what it stands for."""
    return Node(expression.kind, [name], {POSTGRES: ["(", expression, ")"], DUCKDB: ["(", expression, ")"]}, expression.type)


def one_of(rng, leaves):
    """A maker of leaves from given ones."""
    return lambda type: (lambda fitting: rng.choice(fitting) if fitting else None)([leaf for leaf in leaves if leaf.type == type])


class Constructs:
    """Makes queries over the tables of a world, each about one construct."""

    def __init__(self, rng, tables):
        self.rng, self.tables = rng, tables
        self.queries = Queries(rng, tables)

    def top(self):
        """A query, in a full order with LIMIT or TOP now and then."""
        rng = self.rng
        query = rng.choice(CONSTRUCTS)(self)
        if rng.random() < 0.25:
            return Query(self.topped(query.tree, len(query.types)), query.types, True, query.rows)
        if rng.random() < 0.2:
            return Query(self.queries.ordered(query.tree, len(query.types)), query.types, True, query.rows)
        return query

    def topped(self, tree, count):
        """TOP over a full order; Redshift writes it in front."""
        rows = self.rng.randint(0, 12)
        order = ", ".join(str(position) for position in self.rng.sample(range(1, count + 1), count))
        alias = self.queries.alias("q")
        return Node("query", [f"SELECT TOP {rows} * FROM (", tree, f") AS {alias} ORDER BY {order}"],
                    {dialect: ["SELECT * FROM (", tree, f") AS {alias} ORDER BY {order} LIMIT {rows}"] for dialect in (POSTGRES, DUCKDB)})

    def types(self, columns, least=1, most=4):
        return [output_type(self.rng, [column.type for column in columns]) for _ in range(self.rng.randint(least, most))]

    def base(self, types):
        """A query that yields types: what PIVOT and others begin with. Its columns are called f1 and so on."""
        return self.queries.select(1, types=types, fuzzy=False)

    def where(self, expressions, share=0.5):
        return List([expressions.make(BOOL, 2)] if self.rng.random() < share else [], " WHERE ")

    # Names of the select list.

    def lateral_aliases(self):
        rng = self.rng
        tree, columns, unique, rows = self.queries.sources(1)
        leaves, items, types = [], [], []
        known = one_of(rng, leaves)
        plain = Expressions(rng, columns, [known], Subqueries(self.queries, 1))
        windows = Expressions(rng, columns)
        for index, type in enumerate(self.types(columns, 2, 5), 1):
            made = (aggregates.window(rng, windows, type, unique) if rng.random() < 0.2 else None) or plain.make(type, 2)
            # Windows may not stand in WHERE, but in later items.
            name = f"la{index}"
            items.append(Node(None, [made, f" AS {name}"]))
            types.append(type)
            leaves.append(standing_for(name, made))
        of_rows = [leaf for leaf in leaves if "OVER (" not in leaf.others[DUCKDB][1].sql(SLIPHER)]
        where = self.where(Expressions(rng, columns, [one_of(rng, of_rows)]))
        return Query(Node("query", ["SELECT ", List(items, least=1), " FROM ", tree, where]), types, False, rows)

    def lateral_groups(self):
        """GROUP BY and HAVING by names of the select list, and aggregates that later items use."""
        rng = self.rng
        tree, columns, _, rows = self.queries.sources(1)
        plain = Expressions(rng, columns)
        keys, items, types, leaves = [], [], [], []
        for index in range(1, rng.randint(1, 3) + 1):
            made = plain.make(rng.choice(columns).type, 1)
            keys.append(Node(None, [f"g{index}"], {dialect: [str(index)] for dialect in (POSTGRES, DUCKDB)}))
            items.append(Node(None, [made, f" AS g{index}"]))
            types.append(made.type)
        for index, type in enumerate(self.types(columns), 1):
            after = Expressions(rng, [], [one_of(rng, leaves), lambda type: aggregates.aggregate(rng, plain, type)])
            made = after.make(type, 1)
            items.append(Node(None, [made, f" AS a{index}"]))
            types.append(type)
            leaves.append(standing_for(f"a{index}", made))
        having = List([Expressions(rng, [], [one_of(rng, leaves)]).make(BOOL, 1)] if rng.random() < 0.4 else [], " HAVING ")
        group = List(keys, " GROUP BY ", least=len(keys))
        if rng.random() < 0.4:
            group = Node(None, [" GROUP BY ALL"], {dialect: [group] for dialect in (POSTGRES, DUCKDB)})
        return Query(Node("query", ["SELECT ", List(items, least=len(items)), " FROM ", tree, self.where(plain), group, having]), types, False, rows)

    def qualify(self):
        rng = self.rng
        tree, columns, unique, rows = self.queries.sources(1)
        windows = Expressions(rng, columns)
        window = lambda type: aggregates.window(rng, windows, type, unique)
        types = self.types(columns)
        made = [Expressions(rng, columns, [window]).make(type, 1) for type in types]
        # Names that no column has: QUALIFY, too, takes columns first.
        items = List([Node(None, [item, f" AS qa{index}"]) for index, item in enumerate(made, 1)], least=1)
        aliases = one_of(rng, [standing_for(f"qa{index}", item) for index, item in enumerate(made, 1)])
        test = node(BOOL, "(", window(INT), rng.choice([" <= ", " = ", " > "]), str(rng.randint(1, 4)), ")")
        if rng.random() < 0.5:
            test = node(BOOL, "(", test, rng.choice([" AND ", " OR "]), Expressions(rng, columns, [window, aliases]).make(BOOL, 1), ")")
        where, alias = self.where(windows), self.queries.alias("q")
        listed = ", ".join(f"qa{index}" for index in range(1, len(types) + 1))
        slipher = ["SELECT ", items, " FROM ", tree, where, " QUALIFY ", test]
        return Query(either(slipher, [f"SELECT {listed} FROM (SELECT ", items, ", ", test, " AS qualified FROM ", tree, where, f") AS {alias} WHERE qualified"]), types, False, rows)

    def excluded(self):
        """SELECT * EXCLUDE."""
        rng = self.rng
        types = self.types([], 2, 5)
        base, alias = self.base(types), self.queries.alias("q")
        kept = sorted(rng.sample(range(len(types)), rng.randint(1, len(types) - 1)))
        left_out = ", ".join(f"f{index + 1}" for index in range(len(types)) if index not in kept)
        more = Expressions(rng, [Column(f"{alias}.f{index + 1}", types[index]) for index in range(len(types))])
        type = rng.choice(types)
        item, where = more.make(type, 1), self.where(more)
        listed = ", ".join(f"f{index + 1}" for index in kept)
        star = rng.choice(["*", f"{alias}.*"])
        slipher = [f"SELECT {star} EXCLUDE ({left_out}), ", item, " AS m FROM (", base.tree, f") AS {alias}", where]
        return Query(either(slipher, [f"SELECT {listed}, ", item, " AS m FROM (", base.tree, f") AS {alias}", where]), [types[index] for index in kept] + [type], False, base.rows)

    def minus(self):
        """Chains of set operations without parentheses: INTERSECT binds tighter."""
        rng = self.rng
        types = self.types([], 1, 3)
        parts, reference, rows = [], [], 0
        for index in range(rng.randint(2, 4)):
            query = self.queries.select(1, types=types, fuzzy=False)
            rows += query.rows
            if index:
                word = rng.choice([" MINUS ", " EXCEPT ", " INTERSECT ", " UNION ", " UNION ALL "])
                parts.append(word)
                reference.append(word.replace("MINUS", "EXCEPT"))
            parts.append(query.tree)
            reference.append(query.tree)
        return Query(either(parts, reference), types, False, rows)

    def outer_marks(self):
        """(+) in WHERE: a comma, a condition, an outer join."""
        rng = self.rng
        left, right = self.queries.table(), self.queries.table()
        pairs = [(a, b) for a in left.columns for b in right.columns if a.type == b.type and a.type != BOOL]
        first, second = rng.choice(pairs)
        marked, on = [f"{first.sql} = {second.sql}(+)"], [f"{first.sql} = {second.sql}"]
        if rng.random() < 0.4:
            column = rng.choice(right.columns)
            constant = Expressions(rng, []).constant(column.type).sql("slipher")
            if "NULL" not in constant and column.type.name not in ("blk", "chr"):
                operator = rng.choice(["=", "<>", ">", "<="])
                marked.append(f"{column.sql}(+) {operator} {constant}")
                on.append(f"{column.sql} {operator} {constant}")
        columns = left.columns + right.columns
        items = Expressions(rng, columns)
        types = self.types(columns)
        chosen = select_list([items.make(type, 1) for type in types])
        # What reads the other side behind the join has no mark; Redshift wants marks on all or none of a condition's columns.
        more = List([Expressions(rng, left.columns).make(BOOL, 1)] if rng.random() < 0.4 else [], " AND ")
        where = List([], " WHERE ") if not more.items else Node(None, [" WHERE ", *more.items])
        slipher = ["SELECT ", chosen, " FROM ", left.tree, ", ", right.tree, " WHERE " + " AND ".join(marked), more]
        reference = ["SELECT ", chosen, " FROM ", left.tree, " LEFT JOIN ", right.tree, " ON " + " AND ".join(on), where]
        return Query(either(slipher, reference), types, False, len(columns))

    # Columns and rows.

    def pivot(self):
        rng = self.rng
        groups = [rng.choice([INT, TXT, BOOL, DATE]) for _ in range(rng.randint(0, 2))]
        value = rng.choice([INT, INT, FLT, TXT, DATE, dec(12, 2)])
        key = rng.choice([INT, TXT])
        base = self.base([*groups, value, INT if key == INT else TXT])
        names_of = [f"f{index}" for index in range(1, len(groups) + 1)]
        value_name, key_name = f"f{len(groups) + 1}", f"f{len(groups) + 2}"
        constants = rng.sample(["0", "1", "2", "(-1)", "100", "NULL"] if key == INT else ["'a'", "'b'", "'ab'", "''", "'zz'", "NULL"], rng.randint(1, 4))
        constants = [constant.strip("()") for constant in constants]
        single = rng.random() < 0.6
        calls = [self.pivot_call(value, value_name) for _ in range(1 if single else 2)]
        # The value column is a group unless something reads it.
        if all(value_name not in call for call, _, _ in calls):
            calls[0] = (f"count({value_name})", f"count({value_name}) FILTER", INT)
        listed, reference, types = [], [*names_of], list(groups)
        for index, constant in enumerate(constants, 1):
            listed.append(f"{constant} AS n{index}" if rng.random() < 0.7 or constant == "''" else constant)
            test = f"{key_name} IS NULL" if constant == "NULL" else f"{key_name} = {constant}"
            for number, (_, call, type) in enumerate(calls, 1):
                reference.append(f"{call} (WHERE {test})" if "trunc(" not in call else call.replace(" FILTER", f" FILTER (WHERE {test})"))
                types.append(type)
        made = ", ".join(call if single else f"{call} AS m{number}" for number, (call, _, _) in enumerate(calls, 1))
        alias = self.queries.alias("q")
        slipher = ["SELECT * FROM (", base.tree, f") PIVOT ({made} FOR {key_name} IN ({', '.join(listed)})) AS {alias}"]
        group = f" GROUP BY {', '.join(names_of)}" if names_of else ""
        return Query(either(slipher, [f"SELECT {', '.join(reference)} FROM (", base.tree, f") AS {alias}{group}"]), types, False, base.rows)

    def pivot_call(self, type, name):
        rng = self.rng
        choice = rng.randint(0, 3)
        if choice == 0:
            return "count(*)", "count(*) FILTER", INT
        if choice == 1:
            distinct = rng.choice(["", "DISTINCT "])
            return f"count({distinct}{name})", f"count({distinct}{name}) FILTER", INT
        if choice == 2 and type == INT:
            return f"avg({name})", f"trunc(avg({name}) FILTER)::bigint", INT
        if choice == 2 and type in (INT, FLT):
            return f"sum({name})", f"sum({name}) FILTER", type
        function = rng.choice(["min", "max"])
        return f"{function}({name})", f"{function}({name}) FILTER", type

    def unpivot(self):
        rng = self.rng
        value = rng.choice([INT, FLT, TXT, DATE, dec(12, 2)])
        groups = [rng.choice([INT, TXT, BOOL]) for _ in range(rng.randint(0, 2))]
        count = rng.randint(1, 3)
        base = self.base([*groups, *[value] * count])
        nulls = rng.choice(["", " INCLUDE NULLS", " EXCLUDE NULLS"])
        kept = "".join(f"f{index}, " for index in range(1, len(groups) + 1))
        listed, branches = [], []
        for index in range(len(groups) + 1, len(groups) + count + 1):
            shown = f"n{index}" if rng.random() < 0.5 else f"f{index}"
            listed.append(f"f{index}" + (f" AS {shown}" if shown[0] == "n" else ""))
            test = "" if nulls == " INCLUDE NULLS" else f" WHERE f{index} IS NOT NULL"
            branches.append(f"SELECT {kept}'{shown}' AS f0, f{index} AS v FROM base{test}")
        alias = self.queries.alias("q")
        slipher = ["SELECT * FROM (", base.tree, f") UNPIVOT{nulls} (v FOR f0 IN ({', '.join(listed)})) AS {alias}"]
        reference = ["SELECT * FROM (WITH base AS (", base.tree, f") {' UNION ALL '.join(branches)}) AS {alias}"]
        return Query(either(slipher, reference), [*groups, TXT, value], False, base.rows * count)

    # Subqueries in all places.

    def subqueries(self):
        return Shapes(self.queries).query()

    def hierarchy(self):
        return hierarchies.hierarchy(self)

    def recursion(self):
        return hierarchies.recursion(self)

    def grouping(self):
        return collections_of_rows.grouping(self)

    def ordered_sets(self):
        return collections_of_rows.ordered_sets(self)

    def ordered_set_windows(self):
        return collections_of_rows.windows(self)


CONSTRUCTS = [
    Constructs.lateral_aliases, Constructs.lateral_aliases, Constructs.lateral_groups, Constructs.qualify, Constructs.qualify, Constructs.excluded, Constructs.minus,
    Constructs.outer_marks, Constructs.pivot, Constructs.pivot, Constructs.unpivot, Constructs.hierarchy, Constructs.hierarchy, Constructs.recursion,
    Constructs.recursion, Constructs.grouping, Constructs.ordered_sets, Constructs.ordered_sets, Constructs.ordered_set_windows, Constructs.subqueries,
    Constructs.subqueries, Constructs.subqueries, Constructs.subqueries,
]
