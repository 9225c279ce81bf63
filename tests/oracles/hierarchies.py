"""CONNECT BY beside the recursive query that means the same, and WITH RECURSIVE over tables."""

from expressions import Expressions, node
from kinds import BOOL, FLT, INT, TXT, Column, dec
from queries import Query, select_list
from tree import DUCKDB, POSTGRES, List, Node

# Deeper walks grow without end where rows have several ways to a root.
LEVELS_MAX = 6


def forest(maker, alias):
    """A table as a forest: each row's parent has a smaller number, some rows have none. Columns id, p, v, w."""
    rng = maker.rng
    table = rng.choice(maker.tables)
    number = rng.choice([column for column in table.columns if column.type == INT])
    value = next((column for column in table.columns if column.type == TXT), None)
    text = f"coalesce({value.name}, 'n')" if value else "'x'"
    parent = f"CASE WHEN abs({number.name}) % 4 = 0 THEN NULL ELSE id - 1 - abs({number.name}) % 3 END"
    columns = [Column(f"{alias}.id", INT, 200, True), Column(f"{alias}.p", INT, 200), Column(f"{alias}.v", INT, 1000), Column(f"{alias}.w", TXT)]
    # Integers of all widths: as one.
    return f"(SELECT id::integer AS id, ({parent})::integer AS p, {number.name}::integer AS v, {text}::varchar(60) AS w FROM {table.name}) AS {alias}", columns, len(table.rows)


def hierarchy(maker):
    rng, alias = maker.rng, maker.queries.alias("h")
    source, columns, rows = forest(maker, alias)
    plain = Expressions(rng, columns)
    down = rng.random() < 0.8
    start = plain.make(BOOL, 1) if rng.random() < 0.7 else node(BOOL, f"{alias}.p IS NULL")
    levels = rng.randint(1, LEVELS_MAX)
    link = f"PRIOR {alias}.id = {alias}.p" if down else f"{alias}.id = PRIOR {alias}.p"
    step = f"r.id = {alias}.p" if down else f"{alias}.id = r.p"
    more = List([plain.make(BOOL, 1)] if rng.random() < 0.3 else [], " AND ")
    limited = List([Node(None, [f"level <= {levels}"], {dialect: [f"r.level + 1 <= {levels}"] for dialect in (POSTGRES, DUCKDB)})], " AND ")
    # What is asked of the rows found: their columns, and those of the walk.
    level = node(INT, "level", postgres=["r.level"], duckdb=["r.level"])
    leaves = [level]
    for name, type in (("id", INT), ("v", INT), ("w", TXT)):
        leaves.append(node(type, f"PRIOR {alias}.{name}", postgres=[f"r.prior_{name}"], duckdb=[f"r.prior_{name}"]))
        leaves.append(node(type, f"CONNECT_BY_ROOT {alias}.{name}", postgres=[f"r.root_{name}"], duckdb=[f"r.root_{name}"]))
    path = node(TXT, f"SYS_CONNECT_BY_PATH({alias}.w, '/')", postgres=["r.path"], duckdb=["r.path"])
    own = [node(column.type, column.sql, postgres=["r." + column.sql.split(".")[1]], duckdb=["r." + column.sql.split(".")[1]]) for column in columns]
    known = lambda type: (lambda fitting: rng.choice(fitting) if fitting else None)([leaf for leaf in [*leaves, *own] if leaf.type == type])
    items = Expressions(rng, [], [known, known])
    types = [rng.choice([INT, INT, TXT]) for _ in range(rng.randint(1, 4))]
    made = [items.make(type, 1) if rng.random() < 0.6 else known(type) for type in types]
    if rng.random() < 0.4:
        made.append(path)
        types.append(TXT)
    where = List([items.make(BOOL, 1)] if rng.random() < 0.3 else [], " WHERE ")
    chosen = select_list(made)
    slipher = ["SELECT ", chosen, f" FROM {source}", where, " START WITH ", start, f" CONNECT BY {link}", more, limited]
    own_names = "id, p, v, w"
    qualified = ", ".join(f"{alias}.{name}" for name in own_names.split(", "))
    first = [f"SELECT {qualified}, 1, NULL::integer, NULL::integer, NULL::varchar, {alias}.id, {alias}.v, {alias}.w, ('/' || {alias}.w)::varchar FROM {source} WHERE ", start]
    then = [f" UNION ALL SELECT {qualified}, r.level + 1, r.id, r.v, r.w, r.root_id, r.root_v, r.root_w, (r.path || '/' || {alias}.w)::varchar"
            f" FROM r JOIN {source} ON {step}", more, limited]
    names = f"{own_names}, level, prior_id, prior_v, prior_w, root_id, root_v, root_w, path"
    reference = [f"WITH RECURSIVE r({names}) AS (", *first, *then, ") SELECT ", chosen, " FROM r", where]
    # In parentheses: the answer may become a part of another query.
    return Query(Node("query", slipher, {POSTGRES: reference, DUCKDB: reference}), types, False, rows * levels)


def recursion(maker):
    """WITH RECURSIVE that joins a table in each step, and what is made of its rows: the same text everywhere."""
    rng, alias = maker.rng, maker.queries.alias("h")
    source, columns, rows = forest(maker, alias)
    plain = Expressions(rng, columns)
    start = plain.make(BOOL, 1) if rng.random() < 0.6 else node(BOOL, f"{alias}.p IS NULL")
    steps = rng.randint(1, 5)
    carried = [Column("r.n", INT), Column("r.id", INT), Column("r.v", INT), Column("r.w", TXT)]
    both = Expressions(rng, [*carried, *columns])
    more = List([both.make(BOOL, 1)] if rng.random() < 0.3 else [], " AND ")
    union = " UNION ALL " if rng.random() < 0.6 else " UNION "
    total = rng.choice([f"r.v + {alias}.v", f"{alias}.v", f"least(r.v, {alias}.v)", f"coalesce(r.v, 0) - coalesce({alias}.v, 1)"])
    word = rng.choice([f"r.w || {alias}.w", f"{alias}.w", "reverse(r.w)", f"left(r.w || {alias}.w, 5)"])
    walk = ["WITH RECURSIVE r(n, id, v, w) AS (SELECT 1, ", f"{alias}.id, {alias}.v, {alias}.w::varchar(4000) FROM {source} WHERE ", start, union,
            f"SELECT r.n + 1, {alias}.id, ({total})::integer, ({word})::varchar(4000) FROM r JOIN {source} ON r.id = {alias}.p WHERE r.n < {steps}", more, ") "]
    after = Expressions(rng, carried)
    where = List([after.make(BOOL, 1)] if rng.random() < 0.3 else [], " WHERE ")
    if rng.random() < 0.4:
        tree = Node("query", [*walk, "SELECT r.n AS f1, count(*) AS f2, sum(r.v) AS f3, max(r.w) AS f4 FROM r", where, " GROUP BY r.n"])
        return Query(tree, [INT, INT, INT, TXT], False, rows * steps)
    types = [rng.choice([INT, TXT, INT, FLT, dec(12, 2)]) for _ in range(rng.randint(1, 4))]
    other = ""
    if rng.random() < 0.3:
        table = rng.choice(maker.tables)
        other = f" {rng.choice(['LEFT JOIN', 'JOIN'])} {table.name} AS o ON o.id = r.v"
    tree = Node("query", [*walk, "SELECT ", select_list([after.make(type, 1) for type in types]), f" FROM r{other}", where])
    return Query(tree, types, False, rows * steps)
