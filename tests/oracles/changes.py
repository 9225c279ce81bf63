"""INSERT … SELECT, UPDATE, DELETE, MERGE: afterwards the table holds the same rows in Slipher and in PostgreSQL."""

from answers import difference, table
from engines import Refused
from expressions import Expressions, node
from kinds import BOOL, INT, Column
from queries import Queries, Subqueries
from report import signature
from shrink import fewer_rows, shrink
from tree import POSTGRES, SLIPHER, Absent, List, Node
from world import Narrowed


class Changes:
    """One trial runs one statement everywhere."""

    name = "changes"

    def __init__(self, slipher, postgres, report):
        self.slipher, self.postgres, self.report = slipher, postgres, report
        # Set when the tables of the engines are no longer alike: the world is then made anew.
        self.spoiled = False

    def trial(self, rng, world, seed):
        target = rng.choice(world.tables)
        maker = rng.choice([insert, update, update, update_from, delete, delete, delete_using, merge, merge_conditions, with_delete, with_update])
        tree = maker(rng, world, target)
        if tree is None:
            return
        try:
            tree.sql(POSTGRES)
        except Absent:
            self.report.count("no reference has this construct")
            return
        # Mostly in a block that is rolled back, so that the world stays as it is; else it must be made anew.
        self.spoiled = rng.random() < 0.15
        kind, words = self.outcome(tree, target, "committed" if self.spoiled else "rolled back")
        self.report.count("changes compared with PostgreSQL")
        if kind is None:
            return
        sql = tree.sql(SLIPHER)
        if self.report.is_known(self.name, sql, kind, words) or not self.report.is_new(kind):
            return
        self.explain(tree, target, world, seed, kind)

    def outcome(self, tree, target, end, tables=()):
        """(None, "") when PostgreSQL and Slipher agree; else the kind of difference, and in words."""
        if end == "committed":
            return self.compare(tree, target)
        with Narrowed([self.slipher, self.postgres], tables):
            return self.compare(tree, target)

    def compare(self, tree, target):
        try:
            expected_count = self.postgres.run(tree.sql(POSTGRES))
        except Refused as error:
            self.report.invalid_query(error)
            return None, ""
        sql, everything = tree.sql(SLIPHER), f"SELECT * FROM {target.name}"
        try:
            changed = self.slipher.run(sql)
            expected, actual = self.postgres.ask(everything), self.slipher.ask(everything)
        except Refused as error:
            if error.is_unsupported():
                self.report.refused(error)
                return None, ""
            return f"change refused: {error.code} {signature(error.message)}", error.message
        words = difference(expected, actual, [column.type for column in target.columns], False)
        if not words and changed != expected_count:
            words = f"{changed} rows changed, {expected_count} expected"
        if not words:
            return None, ""
        return "wrong change: " + sql.split(" ")[0], f"PostgreSQL:\n{table(expected)}\nSlipher: {words}\n{table(actual)}"

    def explain(self, tree, target, world, seed, kind):
        """Makes the statement and the tables smaller, and prints them."""
        if self.spoiled:
            for engine in (self.slipher, self.postgres):
                world.create(engine)
        again = lambda tree, tables: self.outcome(tree, target, "rolled back", tables)[0] == kind
        tables = world.tables
        if again(tree, ()):
            tree = shrink(tree, lambda smaller: again(smaller, ()))
            tables = fewer_rows(world.used(tree.sql(SLIPHER)), lambda tables: again(tree, tables))
        sql = tree.sql(SLIPHER)
        words = self.outcome(tree, target, "rolled back", tables)[1]
        if self.report.is_known(self.name, sql, kind, words) or self.report.is_printed(kind, kind):
            return
        self.report.finding(self.name, seed, kind, f"{world.script(used=sql, tables=tables)}\n\n{sql};\nSELECT * FROM {target.name};\n{words}")


def condition(rng, world, columns, depth=2):
    queries = Queries(rng, world.tables)
    return Expressions(rng, columns, subquery=Subqueries(queries, 1)).make(BOOL, depth)


def own_columns(target, alias=None):
    name = alias or target.name
    return [column.as_column(name) for column in target.columns]


def insert(rng, world, target):
    """INSERT … SELECT of values that fit: each of a column of the same type somewhere, or a constant."""
    queries = Queries(rng, world.tables)
    source, columns, _, rows = queries.sources(0)
    if rows > 2000:
        return None
    expressions = Expressions(rng, columns)
    values = [fitting(rng, expressions, column) for column in target.columns]
    where = List([condition(rng, world, columns)] if rng.random() < 0.6 else [], " WHERE ")
    return Node(None, [f"INSERT INTO {target.name} SELECT ", *separated(values), " FROM ", source, where])


def fitting(rng, expressions, column):
    """A value that a column takes: widths of integers and lengths of text are what differs within a type."""
    limit = {2: 100, 4: 10**6, 8: 10**6}[column.width]
    if column.type == INT:
        return node(INT, "(", expressions.make(INT, 1), f" % {limit})")
    if column.type.name in ("txt", "blk", "chr"):
        if not column.values:
            return expressions.constant(column.type)
        word = rng.choice(column.values).replace("'", "''")
        return node(column.type, f"'{word}'")
    return expressions.leaf(column.type)


def separated(parts):
    return [part for item in parts for part in (item, ", ")][:-1]


def assignments(rng, target, expressions):
    chosen = rng.sample(target.columns, rng.randint(1, min(3, len(target.columns))))
    return separated([Node(None, [f"{column.name} = ", fitting(rng, expressions, column)]) for column in chosen])


def update(rng, world, target):
    columns = own_columns(target, target.name.split(".")[-1])
    where = List([condition(rng, world, columns)] if rng.random() < 0.85 else [], " WHERE ")
    return Node(None, [f"UPDATE {target.name} SET ", *assignments(rng, target, Expressions(rng, columns)), where])


def update_from(rng, world, target):
    """By a source that has each key once: else any of several rows might be taken."""
    source = rng.choice(world.tables)
    if source is target:
        return None
    mine = own_columns(target, target.name.split(".")[-1])
    theirs = [column.as_column("s") for column in source.columns]
    key = rng.choice([column for column in mine if column.type == INT])
    more = [condition(rng, world, mine + theirs)] if rng.random() < 0.4 else []
    where = List([node(BOOL, f"({key.sql} = s.id)"), *more], " WHERE ", " AND ", least=1)
    return Node(None, [f"UPDATE {target.name} SET ", *assignments(rng, target, Expressions(rng, mine + theirs)), f" FROM {source.name} AS s", where])


def delete(rng, world, target):
    columns = own_columns(target, target.name.split(".")[-1])
    return Node(None, [f"DELETE FROM {target.name}", List([condition(rng, world, columns, 3)], " WHERE ")])


def delete_using(rng, world, target):
    source = rng.choice(world.tables)
    if source is target:
        return None
    name = target.name
    # Sometimes the source goes by its own name, which may be the target's in another schema.
    alias = source.name if rng.random() < 0.4 else "s"
    shown = source.name if alias == source.name else f"{source.name} AS s"
    mine = own_columns(target)
    theirs = [Column(f"{alias}.{column.name}", column.type, column.bound) for column in source.columns]
    pairs = [(a, b) for a in mine for b in theirs if a.type == b.type and a.type != BOOL]
    first, second = rng.choice(pairs)
    more = [condition(rng, world, mine + theirs)] if rng.random() < 0.4 else []
    where = List([node(BOOL, f"({first.sql} = {second.sql})"), *more], " WHERE ", " AND ", least=1)
    return Node(None, [f"DELETE FROM {name} USING {shown}", where])


def merge(rng, world, target):
    """Redshift's MERGE: WHEN MATCHED UPDATE or DELETE, WHEN NOT MATCHED INSERT; the source has each key once."""
    source = rng.choice(world.tables)
    if source is target:
        return None
    mine = own_columns(target)
    theirs = [column.as_column(source.name) for column in source.columns]
    key = rng.choice([column for column in mine if column.type == INT])
    sources = Expressions(rng, theirs)
    last = target.name
    matched = "DELETE" if rng.random() < 0.3 else None
    change = [matched] if matched else ["UPDATE SET ", *assignments(rng, target, Expressions(rng, theirs))]
    names = ", ".join(column.name for column in target.columns)
    values = separated([fitting(rng, sources, column) for column in target.columns])
    return Node(None, [f"MERGE INTO {last} USING {source.name} ON {key.sql} = {source.name}.id WHEN MATCHED THEN ", *change,
                       f" WHEN NOT MATCHED THEN INSERT ({names}) VALUES (", *values, ")"])


def merge_conditions(rng, world, target):
    """Several branches, the first that fits counts."""
    source = rng.choice(world.tables)
    if source is target:
        return None
    mine = own_columns(target)
    theirs = [column.as_column(source.name) for column in source.columns]
    key = rng.choice([column for column in mine if column.type == INT])
    both, sources = Expressions(rng, mine + theirs), Expressions(rng, theirs)
    names = ", ".join(column.name for column in target.columns)
    branches = []
    for _ in range(rng.randint(1, 2)):
        change = ["DELETE"] if rng.random() < 0.3 else ["UPDATE SET ", *assignments(rng, target, sources)]
        branches.append(Node(None, [" WHEN MATCHED AND ", both.make(BOOL, 1), " THEN ", *change]))
    if rng.random() < 0.7:
        values = separated([fitting(rng, sources, column) for column in target.columns])
        test = [" AND ", sources.make(BOOL, 1)] if rng.random() < 0.7 else []
        branches.append(Node(None, [" WHEN NOT MATCHED", *test, f" THEN INSERT ({names}) VALUES (", *values, ")"]))
    return Node(None, [f"MERGE INTO {target.name} USING {source.name} ON {key.sql} = {source.name}.id", List(branches, separator="", least=1)])


def with_query(rng, world):
    """WITH a query that has a column of whole numbers, each once."""
    query = Queries(rng, world.tables).select(1, types=[INT, INT], fuzzy=False)
    return Node(None, ["WITH w AS (SELECT f1, max(f2) AS f2 FROM (", query.tree, ") AS q GROUP BY f1) "])


def with_delete(rng, world, target):
    columns = own_columns(target, target.name.split(".")[-1])
    key = rng.choice([column for column in columns if column.type == INT])
    found = rng.choice([f"{key.sql} IN (SELECT f1 FROM w)", f"EXISTS (SELECT 1 FROM w WHERE w.f1 = {key.sql} AND w.f2 > 0)", f"{key.sql} < (SELECT max(f2) FROM w)"])
    return Node(None, [with_query(rng, world), f"DELETE FROM {target.name} WHERE {found}", List([condition(rng, world, columns)] if rng.random() < 0.3 else [], " AND ")])


def with_update(rng, world, target):
    columns = own_columns(target, target.name.split(".")[-1])
    key = rng.choice([column for column in columns if column.type == INT])
    theirs = [Column("w.f1", INT, 10**6), Column("w.f2", INT, 10**6)]
    where = List([node(BOOL, f"({key.sql} = w.f1)"), *([condition(rng, world, columns + theirs)] if rng.random() < 0.3 else [])], " WHERE ", " AND ", least=1)
    return Node(None, [with_query(rng, world), f"UPDATE {target.name} SET ", *assignments(rng, target, Expressions(rng, columns + theirs)), " FROM w", where])
