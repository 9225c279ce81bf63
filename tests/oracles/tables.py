"""Random tables: their definitions and rows in every dialect."""

import os
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from kinds import BIG, BLK, BOOL, CHR, DATE, FLT, INT, NAN, TS, TXT, Column, dec
from tree import DUCKDB, POSTGRES, SLIPHER

# Schemas with tables of equal names: a reference must find the right one.
SCHEMAS = ("ra", "rb")
ROWS_MAX = 120
INTEGER_BOUND = 1000


@dataclass
class TableColumn:
    """A column of a random table: its declared type in each dialect, and how likely its values are NULL."""

    name: str
    type: object
    declared: dict
    null_share: float
    values: list
    bound: int = 0
    width: int = 4

    def as_column(self, alias):
        sql = f"{alias}.{self.name}"
        return Column(sql, self.type, self.bound, self.name == "id", self.width)


@dataclass
class Table:
    """A random table and its rows (Python values, None for NULL)."""

    name: str
    columns: list
    rows: list
    attributes: str

    def definition(self, dialect):
        columns = ", ".join(f"{column.name} {column.declared[dialect]}" for column in self.columns)
        return f"CREATE TABLE {self.name} ({columns})" + (self.attributes if dialect == SLIPHER else "")

    def inserts(self, dialect, rows_per_statement=200):
        """INSERT statements for all rows."""
        for start in range(0, len(self.rows), rows_per_statement):
            rows = self.rows[start : start + rows_per_statement]
            yield f"INSERT INTO {self.name} VALUES " + ", ".join(self.row(row, dialect) for row in rows)

    def row(self, row, dialect):
        cells = (literal(value, column.type, dialect) for value, column in zip(row, self.columns))
        return "(" + ", ".join(cells) + ")"


def literal(value, type, dialect):
    """A value of a type as a constant."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, datetime)):
        return "'" + str(value) + "'"
    if isinstance(value, float):
        return f"'{value}'"
    if isinstance(value, (int, Decimal)):
        return str(value)
    if dialect == DUCKDB and type in (BLK, CHR):
        value = value.rstrip(" ")
    return "'" + value.replace("'", "''") + "'"


def make_tables(rng):
    """Four to six tables: some share a name in two schemas, one is empty now and then, one has few distinct values."""
    names = ["t1", "t2", f"{SCHEMAS[0]}.t", f"{SCHEMAS[1]}.t", "t3", f"{SCHEMAS[0]}.t1"]
    count = rng.randint(4, len(names))
    return [make_table(rng, name) for name in names[:count]]


def make_table(rng, name):
    columns = [make_column(rng, "id", INT)]
    columns += [make_column(rng, f"c{index}", type) for index, type in enumerate(rng.sample(MAKERS_ORDER, rng.randint(4, 7)), 1)]
    # At least one more integer, as most joins are on those.
    columns.append(make_column(rng, "k", INT))
    row_count = rng.choice([0, 1, 3, 10, 10, 25, 25, 25, 25, 60, 60, ROWS_MAX])
    rows = [[cell(rng, column, number) for column in columns] for number in range(row_count)]
    return Table(name, columns, rows, attributes(rng, columns))


def attributes(rng, columns):
    """DISTSTYLE and SORTKEY of Slipher's table."""
    style = rng.choice(["KEY", "KEY", "KEY", "EVEN", "ALL"])
    text = f" DISTSTYLE {style}"
    if style == "KEY":
        text += f" DISTKEY({rng.choice(columns).name})"
    if rng.random() < 0.5:
        keys = rng.sample(columns, rng.randint(1, 2))
        text += f" SORTKEY({', '.join(column.name for column in keys)})"
    return text


def cell(rng, column, number):
    if column.name == "id":
        return number
    if rng.random() < column.null_share:
        return None
    # Skewed: the first value more often than all others.
    return column.values[0] if rng.random() < 0.3 else rng.choice(column.values)


def same(declared):
    return {dialect: declared for dialect in (SLIPHER, POSTGRES, DUCKDB)}


def make_column(rng, name, type):
    maker = "id" if name == "id" else type if isinstance(type, str) else type.name
    type, declared, values, *rest = MAKERS[maker](rng)
    declared = declared if isinstance(declared, dict) else same(declared)
    null_share = 0 if name == "id" else rng.choice([0, 0.05, 0.3, 0.7])
    bound, width = rest or (0, 4)
    return TableColumn(name, type, declared, null_share, values, bound, width)


def some(rng, make, least=2, most=12):
    return [make() for _ in range(rng.randint(least, most))]


def integers(rng):
    declared, width, bound = rng.choice([("smallint", 2, 100), ("integer", 4, INTEGER_BOUND), ("integer", 4, 10), ("bigint", 8, INTEGER_BOUND)])
    return INT, declared, some(rng, lambda: rng.randint(-bound, bound)), bound, width


def bigs(rng):
    ends = [2**63 - 1, -(2**63) + 1, 2**53 + 1, -(2**31) - 1, 0, 1]
    return BIG, "bigint", rng.sample(ends, 4) + some(rng, lambda: rng.randint(-(2**62), 2**62))


def decimals(rng):
    # Widths on both sides of 9, 18 and 19 digits.
    precision, scale = rng.choice([(4, 0), (8, 2), (8, 2), (8, 2), (9, 9), (10, 4), (10, 4), (12, 2), (12, 2), (18, 6), (19, 2), (20, 0), (28, 10), (38, 0), (38, 20), (38, 37)])
    limit = min(10**precision - 1, 10 ** (scale + 4))
    values = some(rng, lambda: Decimal(rng.randint(-limit, limit)).scaleb(-scale))
    return dec(precision, scale), f"decimal({precision},{scale})", values


def floats(rng):
    # Multiples of 1/4: their sums are exact in any order.
    return FLT, rng.choice(["real", "double precision"]), some(rng, lambda: rng.randint(-400, 400) / 4)


def odd_floats(rng):
    odd = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e300, 5e-324, 0.1]
    return NAN, "double precision", rng.sample(odd, 5) + some(rng, lambda: rng.uniform(-10, 10))


WORDS = ["a", "b", "ab", "abc", "B", "Aa", "zz", "x_y", "50%", "ä", "straße", "日本", "it's", "a,b", "0", "-1", "q" * 30, ""]


def texts(rng):
    length = rng.choice([40, 60, 256])
    return TXT, f"varchar({length})", rng.sample(WORDS, rng.randint(2, 9))


def blank_texts(rng):
    declared = {SLIPHER: "varchar(20)", POSTGRES: "bpchar", DUCKDB: "varchar"}
    stems = rng.sample(["a", "b", "ab", "a b", "", "z", "é"], 4)
    return BLK, declared, [stem + " " * rng.randint(0, 3) for stem in stems * 2]


def chars(rng):
    length = rng.choice([1, 3, 10])
    declared = {SLIPHER: f"char({length})", POSTGRES: f"char({length})", DUCKDB: "varchar"}
    stems = rng.sample(["a", "b", "c", "", "z"], 3) if length == 1 else rng.sample(["a", "b", "ab", "abc", "", "z b"], 4)
    return CHR, declared, [(stem + " " * rng.randint(0, 2))[:length] for stem in stems * 2]


def dates(rng):
    ends = [date(1, 1, 1), date(9999, 12, 31), date(1677, 9, 21), date(2262, 4, 12), date(1900, 3, 1), date(2000, 2, 29)]
    near = date(2024, 1, 31)
    return DATE, "date", rng.sample(ends, 3) + some(rng, lambda: near + timedelta(days=rng.randint(-40, 400)))


def timestamps(rng):
    ends = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1677, 9, 21, 0, 12, 43), datetime(2262, 4, 12)]
    near = datetime(2024, 2, 28, 22)
    return TS, "timestamp", rng.sample(ends, 2) + some(rng, lambda: near + timedelta(seconds=rng.randint(-400, 400) * 1800, microseconds=rng.choice([0, 0, 1, 500000])))


MAKERS = {
    "id": lambda rng: (INT, "integer", [], ROWS_MAX + 50, 4),
    "int": integers,
    "big": bigs,
    "dec": decimals,
    "flt": floats,
    "nan": odd_floats,
    "bool": lambda rng: (BOOL, "boolean", [True, False]),
    "txt": texts,
    "blk": blank_texts,
    "chr": chars,
    "date": dates,
    "ts": timestamps,
}
# What columns are made of, some more often than others; a type with mistakes that are known can be left out.
LEFT_OUT = os.environ.get("SLIPHER_ORACLE_WITHOUT", "").split(",")
ALL_MAKERS = ["int", "int", "big", "dec", "dec", "flt", "nan", "bool", "txt", "txt", "blk", "chr", "date", "ts"]
MAKERS_ORDER = [maker for maker in ALL_MAKERS if maker not in LEFT_OUT]
