"""Random aggregates and window functions."""

from expressions import node
from kinds import BIG, BLK, BOOL, CHR, DATE, FLT, FUZZY, INT, NAN, TS, TXT, dec
from tree import DUCKDB, POSTGRES, List, Node

ORDERED = (INT, BIG, FLT, NAN, TXT, BLK, CHR, DATE, TS)


def aggregate(rng, expressions, type):
    """An aggregate that yields a type, over arguments that `expressions` makes; None if there is none."""
    if type == INT:
        return integer_aggregate(rng, expressions)
    if type == BOOL:
        return node(type, rng.choice(["bool_and(", "bool_or("]), expressions.make(BOOL, 1), ")", filter_of(rng, expressions))
    if type == FLT:
        return node(type, rng.choice(["sum(", "min(", "max("]), expressions.make(FLT, 1), "::float8)", filter_of(rng, expressions))
    if type.name == "dec":
        if rng.random() < 0.5 and 10 <= type.precision - type.scale < 30:
            cast = f"::decimal({type.precision},{type.scale})"
            # What a sum may have in digits is cast to what is asked for: values are small.
            return node(type, "sum(", expressions.leaf(dec(8, 2)), ")", filter_of(rng, expressions), cast)
        return node(type, rng.choice(["min(", "max("]), expressions.leaf(type), ")", filter_of(rng, expressions))
    if type in ORDERED:
        return node(type, rng.choice(["min(", "max("]), expressions.make(type, 1), ")", filter_of(rng, expressions))
    return None


def integer_aggregate(rng, expressions):
    distinct = "DISTINCT " if rng.random() < 0.3 else ""
    choice = rng.randint(0, 5)
    if choice == 0:
        return node(INT, "count(*)", filter_of(rng, expressions))
    if choice == 1:
        return node(INT, "count(", distinct, expressions.make(expressions.some_type(), 1), ")", filter_of(rng, expressions))
    if choice == 2:
        x, filter = expressions.make(INT, 1), filter_of(rng, expressions)
        # The average of integers is a whole number, cut off.
        return node(INT, "avg(", distinct, x, ")", filter, postgres=["trunc(avg(", distinct, x, ")", filter, ")::bigint"],
                    duckdb=["trunc(avg(", distinct, x, ")", filter, ")::bigint"])
    if choice == 3:
        return node(INT, rng.choice(["min(", "max("]), expressions.make(INT, 1), ")", filter_of(rng, expressions))
    # Without the cast a sum of sums is a NUMERIC, whose quotients have other digits in PostgreSQL.
    return node(INT, "sum(", distinct, expressions.make(INT, 1), ")", filter_of(rng, expressions), "::bigint")


def filter_of(rng, expressions):
    """FILTER (WHERE …), now and then."""
    items = [expressions.make(BOOL, 1)] if rng.random() < 0.12 else []
    return List(items, " FILTER (WHERE ", after=")")


def fuzzy_aggregate(rng, expressions):
    """Aggregates whose last digits depend on the order of rows: only printed."""
    if rng.random() < 0.5:
        name = rng.choice(["stddev_samp", "stddev_pop", "var_samp", "var_pop"])
        return node(FUZZY, f"{name}(", expressions.leaf(rng.choice([INT, FLT])), "::float8)")
    return node(FUZZY, "avg(", expressions.leaf(FLT), ")")


def listed(rng, expressions, order):
    """LISTAGG in a full order."""
    x = expressions.leaf(TXT)
    separator = rng.choice([",", "", " | "]).replace(" ", "_")
    # Redshift's LISTAGG leaves empty strings out.
    other = ["string_agg(nullif(", x, f", ''), '{separator}' ORDER BY ", order, ")"]
    return node(TXT, "listagg(", x, f", '{separator}') WITHIN GROUP (ORDER BY ", order, ")", postgres=other, duckdb=other)


def window(rng, expressions, type, order, filtered=True):
    """A window function that yields a type; `order`: columns that order all rows, or None. None if there is none."""
    over = Over(rng, expressions, order)
    if order and rng.random() < 0.5:
        made = positional(rng, expressions, type, over)
        if made:
            return made
    if type == INT and rng.random() < 0.3:
        return node(INT, rng.choice(["rank()", "dense_rank()", "count(*)"]), over.peers())
    if type == INT:
        function = rng.choice(["sum(", "count(", "min(", "max("])
    elif type in (FLT,):
        function = rng.choice(["sum(", "min(", "max("])
    elif type in ORDERED or type.name == "dec":
        function = rng.choice(["min(", "max("])
    else:
        return None
    argument = [expressions.make(type, 1), "::float8"] if type == FLT else [expressions.make(type, 1)]
    filter = filter_of(rng, expressions) if filtered else ""
    cast = "::bigint" if type == INT and function == "sum(" else ""
    return node(type, function, *argument, ")", filter, over.framed() if order else over.peers(), cast)


def positional(rng, expressions, type, over):
    """What depends on the order of single rows."""
    choice = rng.randint(0, 4)
    if type == INT and choice == 0:
        return node(INT, rng.choice(["row_number()", f"ntile({rng.randint(1, 4)})"]), over.total())
    if type.name == "dec" and choice > 2:
        return None
    x = expressions.make(type, 1)
    ignore = rng.random() < 0.3
    behind = " IGNORE NULLS" if ignore else ""
    if choice <= 2:
        function, offset = rng.choice(["lag", "lead"]), rng.choice(["", ", 1", ", 2", ", 0"])
        clause = over.total()
    else:
        function, offset = rng.choice(["first_value", "last_value"]), ""
        if rng.random() < 0.3:
            function, offset = "nth_value", f", {rng.randint(1, 3)}"
        clause = over.framed(always=True)
    postgres = None if ignore else [f"{function}(", x, f"{offset})", clause]
    return node(type, f"{function}(", x, f"{offset}){behind}", clause, postgres=postgres, duckdb=[f"{function}(", x, f"{offset}{behind})", clause])


class Over:
    """OVER clauses."""

    def __init__(self, rng, expressions, order):
        self.rng, self.expressions, self.order = rng, expressions, order
        count = rng.choice([0, 1, 1, 2])
        parts = [expressions.make(expressions.some_type(), rng.randint(0, 1)) for _ in range(count)]
        # A constant to partition by is one partition; a constant to order by is none of a position here.
        self.partition = List(parts, "PARTITION BY ")

    def keys(self, least, most):
        keys = []
        for _ in range(self.rng.randint(least, most)):
            key = self.expressions.leaf(self.expressions.some_type())
            keys.append(directed(self.rng, key))
        return keys

    def all_keys(self):
        """Some keys, then those that leave no equals; the latter stay when a failing query is made smaller."""
        unique = [directed(self.rng, Node(None, [column])) for column in self.order]
        fixed = [part for key in unique for part in (key, ", ")][:-1]
        return [" ORDER BY ", List(self.keys(0, 1), after=", "), *fixed]

    def peers(self):
        """An order with equals, and a frame that takes them together."""
        return Node(None, [" OVER (", self.partition, List(self.keys(0, 1), " ORDER BY "), ")"])

    def total(self):
        """Each row in a place of its own."""
        return Node(None, [" OVER (", self.partition, *self.all_keys(), ")"])

    def framed(self, always=False):
        """A total order with a frame."""
        rng = self.rng
        start = rng.choice(["UNBOUNDED PRECEDING", "CURRENT ROW", f"{rng.randint(0, 3)} PRECEDING", "1 FOLLOWING"])
        ends = ["UNBOUNDED FOLLOWING", f"{rng.randint(1, 3)} FOLLOWING"] + (["CURRENT ROW"] if "FOLLOWING" not in start else [])
        frame = f" ROWS BETWEEN {start} AND {rng.choice(ends)}"
        if rng.random() < 0.2 and not always:
            frame = ""
        elif rng.random() < 0.2:
            frame = " ROWS UNBOUNDED PRECEDING"
        return Node(None, [" OVER (", self.partition, *self.all_keys(), frame, ")"])


def directed(rng, key):
    direction = rng.choice(["", "", " DESC", " ASC", " DESC NULLS LAST", " NULLS FIRST"])
    return Node(None, [key, direction])
