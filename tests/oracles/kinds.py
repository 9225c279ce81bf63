"""The types that the generators know, and what may be done with a value of each.

BIG (integers near the ends of BIGINT), NAN (floats with NaN), BLK and CHR (text with trailing blanks) hold values on which the engines
agree only as long as they are compared, grouped, sorted and handed on.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Type:
    """A type of a generated expression."""

    name: str
    kind: str = field(compare=False)
    plain: str = field(compare=False)
    # Decimals: digits in all and behind the point.
    precision: int = 0
    scale: int = 0


INT = Type("int", "int", "1")
BIG = Type("big", "big", "1::bigint")
FLT = Type("flt", "flt", "1::float8")
NAN = Type("nan", "nan", "1::float8")
BOOL = Type("bool", "bool", "true")
TXT = Type("txt", "txt", "'a'::varchar(20)")
BLK = Type("blk", "blk", None)
CHR = Type("chr", "chr", None)
DATE = Type("date", "date", "'2001-01-01'::date")
TS = Type("ts", "ts", "'2001-01-01'::timestamp")
# Only printed, with few digits: what depends on the order in which floats are added.
FUZZY = Type("fuzzy", "fuzzy", None)


def dec(precision, scale):
    """DECIMAL(precision, scale)."""
    return Type("dec", f"dec{precision},{scale}", f"1::decimal({precision},{scale})", precision, scale)


@dataclass(frozen=True)
class Column:
    """A column that an expression may use: how it is written, and its type. `bound`: integers are at most so large, up or down."""

    sql: str
    type: Type
    bound: int = 0
    # Whether no two rows of its table have the same value.
    unique: bool = False
    # The declared integer width in bytes.
    width: int = 4
