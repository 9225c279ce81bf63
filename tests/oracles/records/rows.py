"""Aggregates, windows, joins, set operations and truth over small tables."""

ROWS = [
    (1, 1, 10, 100, "1.50", 1.5, 2.25, True, "a", "abc", "2024-01-01", "2024-01-01 00:00:00"),
    (2, 1, None, 200, "2.25", None, -1.5, False, "b", "", "2024-02-29", "2024-02-29 12:00:00.5"),
    (3, 2, 30, None, None, 0.25, 100.0, None, None, "b c", None, "1999-12-31 23:59:59"),
    (4, 2, 10, 100, "-3.75", -2.5, 0.0, True, "a", "ä", "2024-01-01", None),
    (5, 2, -7, 0, "0.00", 4.0, None, True, "c", None, "1970-01-01", "1970-01-01 00:00:00"),
    (6, None, None, 7, "99.99", 8.5, 3.5, False, "b", "zz", "9999-12-31", "2024-01-01 00:00:00"),
    (7, 3, None, None, None, None, None, None, None, None, None, None),
]
COLUMNS = ["id int", "g int", "i int", "l bigint", "n decimal(8,2)", "r real", "f float8", "b boolean", "c char(3)", "v varchar(10)", "d date", "t timestamp"]
NUMBERS, TEXTS, MOMENTS = ["i", "l", "n", "r", "f"], ["c", "v"], ["d", "t"]
# As many rows as there are ways to look at them.
FILTERS = ["", " WHERE id = 1", " WHERE id = 7", " WHERE id > 100", " WHERE g = 2"]


def literal(value):
    return "NULL" if value is None else str(value).lower() if isinstance(value, bool) else f"'{value}'" if isinstance(value, str) else str(value)


def table(file, name, schema, style=" DISTKEY(id)"):
    """Both hold the table; the schema is the file's own."""
    file.setup(f"CREATE SCHEMA {schema}", f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    file.setup(f"SET search_path TO {schema}")
    fields = ", ".join(COLUMNS)
    file.setup(f"CREATE TABLE {name} ({fields}){style}", f"CREATE TABLE {name} ({fields})")
    rows = ", ".join("(" + ", ".join(literal(value) for value in row) + ")" for row in ROWS)
    file.setup(f"INSERT INTO {name} VALUES {rows}")


def aggregates(file):
    table(file, "t", "slt_aggregates")
    for rows in FILTERS:
        file.case(f"SELECT count(*) FROM t{rows}")
        for column in NUMBERS + TEXTS + MOMENTS + ["b"]:
            for distinct in ("", "DISTINCT "):
                file.case(f"SELECT count({distinct}{column}) FROM t{rows}")
            if column != "b":
                file.case(f"SELECT min({column}) FROM t{rows}")
                file.case(f"SELECT max({column}) FROM t{rows}")
        for column in NUMBERS:
            for distinct in ("", "DISTINCT "):
                file.case(f"SELECT sum({distinct}{column}) FROM t{rows}")
                # The average of whole numbers is one, of decimals one with as many digits; both are cut off.
                average = {"i": "trunc(avg({}))::bigint", "l": "trunc(avg({}))::bigint", "n": "trunc(avg({}), 2)"}.get(column, "avg({})").format(distinct + column)
                file.case(f"SELECT avg({distinct}{column}) FROM t{rows}", f"SELECT {average} FROM t{rows}")
            for function in ("stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop"):
                if column in ("i", "l", "f"):
                    file.case(f"SELECT {function}({column}) FROM t{rows}", f"SELECT {function}({column}::float8) FROM t{rows}")
            if column in ("i", "l"):
                file.case(f"SELECT bit_and({column}) FROM t{rows}")
                file.case(f"SELECT bit_or({column}) FROM t{rows}")
            for share in ("0", "0.25", "0.5", "1"):
                for direction in ("", " DESC"):
                    file.case(f"SELECT percentile_disc({share}) WITHIN GROUP (ORDER BY {column}{direction}) FROM t{rows}")
                    if column != "n":
                        file.case(f"SELECT percentile_cont({share}) WITHIN GROUP (ORDER BY {column}{direction}) FROM t{rows}")
            if column != "n":
                file.case(f"SELECT median({column}) FROM t{rows}", f"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {column}) FROM t{rows}")
        file.case(f"SELECT bool_and(b) FROM t{rows}")
        file.case(f"SELECT bool_or(b) FROM t{rows}")
        for column in TEXTS:
            for distinct in ("", "DISTINCT "):
                order = column if distinct else "id"
                for direction in ("", " DESC"):
                    file.case(f"SELECT listagg({distinct}{column}, '-') WITHIN GROUP (ORDER BY {order}{direction}) FROM t{rows}",
                              f"SELECT string_agg({distinct}nullif({column}::varchar, ''), '-' ORDER BY {'nullif({}::varchar, {})'.format(column, chr(39) * 2) if distinct else order}{direction}) FROM t{rows}")
    for column in NUMBERS + TEXTS + MOMENTS + ["b"]:
        file.case(f"SELECT {column}, count(*) FROM t GROUP BY {column} ORDER BY {column}")
        file.case(f"SELECT {column}, count(*) FROM t GROUP BY {column} ORDER BY {column} DESC")
        file.case(f"SELECT DISTINCT {column} FROM t ORDER BY 1")
        file.case(f"SELECT g, count({column}) FROM t GROUP BY g ORDER BY g NULLS FIRST")
        file.case(f"SELECT g, count(DISTINCT {column}) FROM t GROUP BY g HAVING count({column}) > 0 ORDER BY g")
        for shape in ("ROLLUP(g, {})", "CUBE(g, {})", "GROUPING SETS ((g), ({}), ())"):
            file.case(f"SELECT g, {column}, grouping(g, {column}), count(*) FROM t GROUP BY {shape.format(column)} ORDER BY 3, 1, 2")
    for column in NUMBERS:
        for other in ("g", "b"):
            file.case(f"SELECT {other}, sum({column}), min({column}), max({column}), count({column}) FROM t GROUP BY {other} ORDER BY {other}")
            file.case(f"SELECT {other}, sum({column}) FILTER (WHERE id > 2) FROM t GROUP BY {other} ORDER BY {other}")


FRAMES = ["", "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
          "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING", "ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING",
          "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", "ROWS 2 PRECEDING", "ROWS CURRENT ROW"]


def windows(file):
    table(file, "t", "slt_framed")
    for partition in ("", "PARTITION BY g "):
        for order in ("ORDER BY id", "ORDER BY id DESC"):
            for frame in FRAMES:
                over = f"OVER ({partition}{order}{' ' + frame if frame else ''})"
                for call in ("sum(i)", "count(i)", "min(n)", "max(v)", "sum(n)", "first_value(d)", "last_value(i)", "nth_value(l, 2)", "count(*)", "max(t)", "sum(f)"):
                    if not frame and call.split("(")[0] in ("sum", "count", "min", "max"):
                        # Redshift wants a frame where an aggregate has an order; without one it is the default's.
                        pass
                    file.case(f"SELECT id, {call} {over} FROM t ORDER BY id")
            over = f"OVER ({partition}{order})"
            for call in ("row_number()", "rank()", "dense_rank()", "ntile(2)", "ntile(3)", "lag(i)", "lead(i)", "lag(v, 2)", "lead(d, 2)", "lag(n, 0)", "lag(i, 1, -1)", "percent_rank()",
                         "cume_dist()"):
                file.case(f"SELECT id, {call} {over} FROM t ORDER BY id")
        for order in ("ORDER BY i", "ORDER BY i DESC", "ORDER BY b", "ORDER BY c, i", "ORDER BY i NULLS FIRST", "ORDER BY d DESC NULLS LAST", "ORDER BY v"):
            over = f"OVER ({partition}{order})"
            for call in ("rank()", "dense_rank()", "percent_rank()", "cume_dist()", "sum(l)", "count(*)", "min(id)", "max(id)"):
                file.case(f"SELECT id, {call} {over} FROM t ORDER BY id")
        for call in ("sum(i)", "avg(f)", "count(v)", "min(d)", "max(c)", "count(*)", "bool_and(b)", "stddev_pop(f)", "var_pop(f)"):
            file.case(f"SELECT id, {call} OVER ({partition.strip()}) FROM t ORDER BY id")
        file.case(f"SELECT id, ratio_to_report(f) OVER ({partition.strip()}) FROM t ORDER BY id", f"SELECT id, f / sum(f) OVER ({partition.strip()}) FROM t ORDER BY id")


TRUTHS = ["true", "false", "NULL::boolean"]


def truth(file):
    for a in TRUTHS:
        file.case(f"SELECT NOT {a}")
        for test in ("TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN", "NULL", "NOT NULL"):
            file.case(f"SELECT {a} IS {test}")
        for b in TRUTHS:
            for operator in ("AND", "OR", "=", "<>", "<", ">="):
                file.case(f"SELECT {a} {operator} {b}")
            for c in TRUTHS:
                file.case(f"SELECT {a} AND {b} OR {c}")
                file.case(f"SELECT {a} OR NOT {b} AND {c}")
                file.case(f"SELECT {a} IN ({b}, {c})")
                file.case(f"SELECT {a} NOT IN ({b}, {c})")
                file.case(f"SELECT CASE WHEN {a} THEN 1 WHEN {b} THEN 2 WHEN {c} THEN 3 ELSE 4 END")
                file.case(f"SELECT coalesce({a}, {b}, {c})")
    for a in ("1", "2", "NULL::int"):
        for b in ("1", "2", "NULL::int"):
            for operator in ("=", "<>", "<", "<=", ">", ">="):
                file.case(f"SELECT {a} {operator} {b}")
            for c in ("1", "3", "NULL::int"):
                file.case(f"SELECT {a} BETWEEN {b} AND {c}")
                file.case(f"SELECT {a} NOT BETWEEN {b} AND {c}")
                file.case(f"SELECT {a} IN ({b}, {c})")
                file.case(f"SELECT {a} NOT IN ({b}, {c})")
                file.case(f"SELECT CASE {a} WHEN {b} THEN 'b' WHEN {c} THEN 'c' ELSE 'none' END")
                file.case(f"SELECT ({a}, {b}) = ({c}, 1)")
                file.case(f"SELECT ({a}, {b}) IN (({c}, 1), (1, 2))")
                file.case(f"SELECT greatest({a}, {b}, {c})")
                file.case(f"SELECT least({a}, {b}, {c})")


def joined(file):
    table(file, "t", "slt_joined")
    file.setup("CREATE TABLE o (k int, w varchar(10), x decimal(10,3), y bigint) DISTSTYLE EVEN", "CREATE TABLE o (k int, w varchar(10), x decimal(10,3), y bigint)")
    file.setup("INSERT INTO o VALUES (1, 'abc', 1.5, 10), (1, 'zz', NULL, 7), (2, '', -3.75, NULL), (NULL, 'b c', 2.25, 100), (9, NULL, 0, 0)")
    conditions = ["t.g = o.k", "t.id = o.k", "t.v = o.w", "t.n = o.x", "t.l = o.y", "t.g < o.k", "t.g = o.k AND t.i > 0", "t.g = o.k OR t.v = o.w", "t.g IS NOT DISTINCT FROM o.k",
                  "t.i = o.y AND o.x IS NOT NULL", "t.n > o.x", "t.id = o.k AND t.v IS NULL"]
    for condition in conditions:
        distinct = "IS NOT DISTINCT" in condition
        for kind in ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"):
            if kind == "FULL JOIN" and ("<" in condition or " OR " in condition or condition == "t.n > o.x" or distinct):
                continue
            file.case(f"SELECT t.id, o.k, o.w FROM t {kind} o ON {condition} ORDER BY 1, 2, 3")
        if distinct:
            continue
        file.case(f"SELECT t.id FROM t WHERE EXISTS (SELECT 1 FROM o WHERE {condition}) ORDER BY 1")
        file.case(f"SELECT t.id FROM t WHERE NOT EXISTS (SELECT 1 FROM o WHERE {condition}) ORDER BY 1")
        file.case(f"SELECT t.id, (SELECT count(*) FROM o WHERE {condition}) FROM t ORDER BY 1")
        file.case(f"SELECT t.id, (SELECT max(o.w) FROM o WHERE {condition}) FROM t ORDER BY 1")
        file.case(f"SELECT t.id, EXISTS (SELECT 1 FROM o WHERE {condition}) FROM t ORDER BY 1")
        file.case(f"SELECT t.id, (SELECT o.w FROM o WHERE {condition} ORDER BY o.k, o.w LIMIT 1) FROM t ORDER BY 1")
    for left, right in (("g", "k"), ("v", "w"), ("n", "x"), ("l", "y"), ("i", "y"), ("id", "k")):
        for word in ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "MINUS"):
            file.case(f"SELECT {left} FROM t {word} SELECT {right} FROM o ORDER BY 1", f"SELECT {left} FROM t {word.replace('MINUS', 'EXCEPT')} SELECT {right} FROM o ORDER BY 1")
        for operator in ("IN", "NOT IN"):
            file.case(f"SELECT id FROM t WHERE {left} {operator} (SELECT {right} FROM o) ORDER BY 1")
            file.case(f"SELECT id FROM t WHERE {left} {operator} (SELECT {right} FROM o WHERE {right} IS NOT NULL) ORDER BY 1")
            file.case(f"SELECT id, {left} {operator} (SELECT {right} FROM o) FROM t ORDER BY 1")
        for operator in ("= ANY", "<> ALL", "> ALL", "< ANY"):
            file.case(f"SELECT id FROM t WHERE {left} {operator} (SELECT {right} FROM o WHERE {right} IS NOT NULL) ORDER BY 1")


FILES = {
    "aggregates.slt": ("Aggregates of each type, over all rows, one, none, and NULLs.", aggregates),
    "framed_windows.slt": ("Windows with each frame.", windows),
    "truth.slt": ("What is true, false and unknown.", truth),
    "joined.slt": ("Joins, subqueries and set operations over pairs of columns.", joined),
}
