"""GROUPING, GROUPING_ID, LISTAGG, PERCENTILE_CONT and _DISC, MEDIAN, APPROXIMATE: over groups, and as windows."""

import aggregates
from expressions import Expressions, node
from kinds import BOOL, DATE, FLT, INT, TS, TXT, Column, Type, dec
from queries import Query, select_list
from tree import DUCKDB, POSTGRES, List, Node

# Interpolated: the last digits differ.
SHARE = Type("fuzzy", "fuzzy", None)


def grouping(maker):
    rng = maker.rng
    tree, columns, _, rows = maker.queries.sources(1)
    plain = Expressions(rng, columns)
    keys = []
    for _ in range(rng.randint(1, 3)):
        column = rng.choice(columns)
        if all(column.sql != key.sql("slipher") for key in keys):
            keys.append(node(column.type, column.sql))
    texts = [key.sql("slipher") for key in keys]
    marks = []
    for name in ("GROUPING", "GROUPING_ID"):
        asked = rng.sample(texts, 1 if name == "GROUPING" else rng.randint(1, len(texts)))
        same = [f"GROUPING({', '.join(asked)})"]
        marks.append(node(INT, f"{name}({', '.join(asked)})", postgres=same, duckdb=same))
    key_leaf = lambda type: (lambda fitting: rng.choice(fitting) if fitting else None)([key for key in keys if key.type == type])
    mark_leaf = lambda type: rng.choice(marks) if type == INT else None
    after = Expressions(rng, [], [key_leaf, mark_leaf, lambda type: aggregates.aggregate(rng, plain, type)])
    types = [INT, *maker.types(columns)]
    made = [marks[1] if rng.random() < 0.7 else marks[0], *[after.make(type, 1) for type in types[1:]]]
    listed = ", ".join(texts)
    mixed = f"{texts[0]}, ROLLUP({', '.join(texts[1:])})" if len(texts) > 1 else f"ROLLUP({listed})"
    sets = ", ".join(rng.sample(["()", f"({texts[0]})", f"({listed})", *(f"({text})" for text in texts[1:])], rng.randint(1, 2)))
    group = rng.choice([f"ROLLUP({listed})", f"CUBE({listed})", mixed, f"GROUPING SETS ({sets}, ({listed}))"])
    having = List([after.make(BOOL, 1)] if rng.random() < 0.4 else [], " HAVING ")
    return Query(Node("query", ["SELECT ", select_list(made), " FROM ", tree, maker.where(plain), f" GROUP BY {group}", having]), types, False, rows)


def call(rng, plain, unique):
    """An ordered-set aggregate: its form in Redshift and the others, and its type."""
    choice = rng.randint(0, 5 if unique else 4)
    filter = ""
    direction = rng.choice(["", " DESC"])
    if choice == 0:
        # Of decimals the median is one, with as many digits: PostgreSQL's is a float.
        x = plain.leaf(rng.choice([INT, FLT]))
        other = ["percentile_cont(0.5) WITHIN GROUP (ORDER BY ", x, ")"]
        return node(SHARE, "median(", x, ")", postgres=other, duckdb=other), SHARE
    if choice == 1:
        x, share = plain.leaf(rng.choice([INT, FLT])), rng.choice(["0", "0.25", "0.5", "0.9", "1"])
        return node(SHARE, f"percentile_cont({share}) WITHIN GROUP (ORDER BY ", x, f"{direction})"), SHARE
    if choice in (2, 3):
        type = rng.choice([INT, FLT, dec(12, 2), DATE, TS])
        x, share = plain.leaf(type), rng.choice(["0", "0.25", "0.5", "0.9", "1"])
        other = [f"percentile_disc({share}) WITHIN GROUP (ORDER BY ", x, f"{direction})"]
        approximate = "APPROXIMATE " if rng.random() < 0.2 and type in (INT, FLT) else ""
        return node(type, f"{approximate}percentile_disc({share}) WITHIN GROUP (ORDER BY ", x, f"{direction})", postgres=other, duckdb=other), type
    if choice == 4:
        x, separator = plain.leaf(TXT), rng.choice([",", "", "; "])
        other = ["string_agg(DISTINCT nullif(", x, f", ''), '{separator}' ORDER BY nullif(", x, f", ''){direction})"]
        return node(TXT, "listagg(DISTINCT ", x, f", '{separator}') WITHIN GROUP (ORDER BY ", x, f"{direction})", postgres=other, duckdb=other), TXT
    order = Node(None, [plain.leaf(plain.some_type()), f"{direction}, ", ", ".join(unique)])
    return aggregates.listed(rng, plain, order), TXT


def ordered_sets(maker):
    rng = maker.rng
    tree, columns, unique, rows = maker.queries.sources(1)
    plain = Expressions(rng, columns)
    keys = [rng.choice(columns)] if rng.random() < 0.7 else []
    made, types = [], []
    for column in keys:
        made.append(node(column.type, column.sql))
        types.append(column.type)
    for _ in range(rng.randint(1, 3)):
        item, type = call(rng, plain, unique)
        made.append(item)
        types.append(type)
    if rng.random() < 0.3:
        x = plain.leaf(plain.some_type())
        made.append(node(INT, "count(DISTINCT ", x, ")"))
        types.append(INT)
    group = List([node(column.type, column.sql) for column in keys], " GROUP BY ", least=len(keys))
    return Query(Node("query", ["SELECT ", select_list(made), " FROM ", tree, maker.where(plain), group]), types, False, rows)


def windows(maker):
    """As windows: PostgreSQL is asked for each row's partition by a subquery."""
    rng = maker.rng
    value = rng.choice([INT, FLT, dec(12, 2), TXT])
    key = rng.choice([INT, TXT, BOOL, DATE])
    table = rng.choice(maker.tables)
    alias = maker.queries.alias("q")
    columns = [column.as_column(alias) for column in table.columns]
    plain = Expressions(rng, columns)
    base = ["SELECT ", f"{alias}.id AS f1, ", plain.make(value, 1), " AS f2, ", plain.leaf(key), f" AS f3 FROM {table.name} AS {alias}", maker.where(plain)]
    partition = rng.random() < 0.8
    over = "PARTITION BY f3" if partition else ""
    direction = rng.choice(["", " DESC"])
    type = value
    if value == TXT:
        distinct = rng.random() < 0.3
        mine = f"listagg({'DISTINCT ' if distinct else ''}f2, ',') WITHIN GROUP (ORDER BY {'f2' if distinct else 'f1'}{direction}) OVER ({over})"
        other = f"string_agg({'DISTINCT ' if distinct else ''}nullif(i.f2, ''), ',' ORDER BY {'nullif(i.f2, {0})'.format(chr(39) * 2) if distinct else 'i.f1'}{direction})"
    else:
        share = rng.choice(["0", "0.25", "0.5", "1"])
        name = rng.choice(["percentile_cont", "percentile_disc", "median"]) if value in (INT, FLT) else "percentile_disc"
        mine = f"median(f2) OVER ({over})" if name == "median" else f"{name}({share}) WITHIN GROUP (ORDER BY f2{direction}) OVER ({over})"
        other = "percentile_cont(0.5) WITHIN GROUP (ORDER BY i.f2)" if name == "median" else f"{name}({share}) WITHIN GROUP (ORDER BY i.f2{direction})"
        type = value if name == "percentile_disc" else SHARE
    test = " WHERE i.f3 IS NOT DISTINCT FROM o.f3" if partition else ""
    slipher = [f"SELECT f1, f3, {mine} AS f4 FROM (", *base, ") AS o"]
    reference = ["SELECT * FROM (WITH base AS (", *base, f") SELECT f1, f3, (SELECT {other} FROM base AS i{test}) AS f4 FROM base AS o) AS w"]
    return Query(Node("query", slipher, {POSTGRES: reference, DUCKDB: reference}), [INT, key, type], False, len(table.rows))
