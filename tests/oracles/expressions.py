"""Random scalar expressions of a wanted type, on which Redshift and PostgreSQL agree, or whose PostgreSQL form is known."""

from kinds import BIG, BLK, BOOL, CHR, DATE, FLT, INT, NAN, TS, TXT, dec
from tables import WORDS
from tree import DUCKDB, POSTGRES, List, Node

COMPARISONS = ["=", "<>", "<", "<=", ">", ">=", "="]


def node(type, *parts, postgres=(), duckdb=()):
    """An expression; other dialects' parts where they differ. None: that dialect has no such thing."""
    others = {}
    if postgres != ():
        others[POSTGRES] = postgres
    if duckdb != ():
        others[DUCKDB] = duckdb
    return Node(type.kind, parts, others, type)


class Expressions:
    """Makes expressions from `columns`, and from `more`: functions that may answer another leaf of a type, or None.

    `subquery` makes subqueries, where they are wanted.
    """

    def __init__(self, rng, columns, more=(), subquery=None):
        self.rng, self.columns, self.more, self.subquery = rng, columns, list(more), subquery

    def types(self):
        """Types that have a column here."""
        return [column.type for column in self.columns]

    def make(self, type, depth):
        """An expression of a type, at most `depth` levels deep."""
        maker = getattr(self, "make_" + type.name, None)
        if depth <= 0 or maker is None or self.rng.random() < 0.25:
            return self.leaf(type)
        if self.rng.random() < 0.2:
            return self.conditional(type, depth - 1)
        return maker(type, depth - 1)

    def leaf(self, type):
        """A column or a constant."""
        rng = self.rng
        for make in self.more:
            if rng.random() < 0.4 and (made := make(type)):
                return made
        fitting = [column for column in self.columns if column.type == type]
        if fitting and rng.random() < 0.85:
            column = rng.choice(fitting)
            return node(type, column.sql)
        return self.constant(type)

    def constant(self, type):
        rng = self.rng
        if rng.random() < 0.06:
            return self.null(type)
        name = type.name
        if name == "int":
            value = rng.choice([0, 1, 2, 3, 5, 10, 100, -1, -7])
            return node(type, str(value) if value >= 0 else f"({value})")
        if name == "big":
            return node(type, rng.choice(["9223372036854775807", "(-9223372036854775807)", "9007199254740993", "0"]), "::bigint")
        if name == "dec":
            value = rng.randint(-(10 ** min(type.precision, 6)) + 1, 10 ** min(type.precision, 6) - 1)
            digits = str(abs(value)).rjust(type.scale + 1, "0")
            text = digits[: len(digits) - type.scale] + ("." + digits[-type.scale :] if type.scale else "")
            return node(type, f"'{'-' if value < 0 else ''}{text}'::decimal({type.precision},{type.scale})")
        if name in ("flt", "nan"):
            values = ["0.25", "2", "-3.5", "100"] + (["NaN", "Infinity"] if name == "nan" else [])
            return node(type, f"'{rng.choice(values)}'::float8")
        if name == "bool":
            return node(type, rng.choice(["true", "false"]))
        if name == "txt":
            word = rng.choice(WORDS).replace("'", "''")
            return node(type, f"'{word}'::varchar(60)")
        if name in ("blk", "chr"):
            word = rng.choice(["a", "b", "ab", "", "z"])
            padded = word + " " * rng.randint(0, 2)
            return node(type, f"'{padded}'", postgres=[f"'{padded}'::bpchar"], duckdb=[f"'{word}'"])
        if name == "date":
            return node(type, f"'{rng.choice(['2024-02-29', '2024-03-01', '1999-12-31', '0001-01-01', '9999-12-31'])}'::date")
        value = rng.choice(["2024-02-28 22:00:00", "2024-02-29 00:00:00.5", "1970-01-01 00:00:00", "9999-12-31 23:59:59"])
        return node(type, f"'{value}'::timestamp")

    def null(self, type):
        names = {"int": "integer", "big": "bigint", "flt": "float8", "nan": "float8", "bool": "boolean", "date": "date", "ts": "timestamp"}
        name = names.get(type.name) or (f"decimal({type.precision},{type.scale})" if type.name == "dec" else "varchar(20)")
        if type in (BLK, CHR):
            return node(type, f"NULL::{name}", postgres=["NULL::bpchar"])
        return node(type, f"NULL::{name}")

    def conditional(self, type, depth):
        """CASE, COALESCE, NULLIF, NVL, DECODE, GREATEST: of every type."""
        rng = self.rng
        # An exact number beside a float is one.
        def part():
            if type != FLT or rng.random() >= 0.25:
                return self.make(type, depth)
            # PostgreSQL computes DECIMAL beside REAL in REAL, Slipher in DOUBLE PRECISION.
            # Of quarters: the sums of others depend on the order of their rows.
            return self.make(INT, depth) if rng.random() < 0.5 else node(FLT, f"'{rng.randint(-99, 99) / 4}'::decimal(8,2)::float8")
        choice = rng.randint(0, 6)
        if choice == 0:
            branches = []
            for _ in range(rng.randint(1, 2)):
                branches.append(node(BOOL, " WHEN ", self.make(BOOL, depth), " THEN ", part()))
            for branch in branches:
                branch.kind = None
            return node(type, "CASE", List(branches, separator="", least=1), *([" ELSE ", part()] if rng.random() < 0.7 else []), " END")
        if choice == 1:
            return self.coalesce(type, part)
        if choice == 2:
            return node(type, "nullif(", part(), ", ", part(), ")")
        if choice == 3:
            return self.decode(type, depth, part)
        if choice == 4 and type not in (BOOL, CHR, BLK, NAN):
            return node(type, rng.choice(["greatest(", "least("]), part(), ", ", part(), ")")
        if choice == 5 and self.subquery and (made := self.subquery.scalar(type, self.columns)):
            return made
        other = self.some_type()
        key = self.make(other, depth)
        return node(type, "CASE ", key, " WHEN ", self.make(other, depth), " THEN ", part(), " ELSE ", part(), " END")

    def coalesce(self, type, part):
        first, second = part(), part()
        if self.rng.random() < 0.3:
            plain = ["coalesce(", first, ", ", second, ")"]
            return node(type, "nvl(", first, ", ", second, ")", postgres=plain, duckdb=plain)
        return node(type, "coalesce(", first, ", ", second, ")")

    def decode(self, type, depth, part):
        """DECODE finds NULL equal to NULL."""
        other = self.some_type()
        key, wanted, then, otherwise = self.make(other, depth), self.make(other, depth), part(), part()
        case = ["CASE WHEN ", key, " IS NOT DISTINCT FROM ", wanted, " THEN ", then, " ELSE ", otherwise, " END"]
        return node(type, "decode(", key, ", ", wanted, ", ", then, ", ", otherwise, ")", postgres=case, duckdb=case)

    def some_type(self):
        """A type that is worth comparing here."""
        types = self.types() or [INT, TXT, DATE]
        return self.rng.choice(types)

    # Booleans.

    def make_bool(self, type, depth):
        rng = self.rng
        choice = rng.randint(0, 13)
        if choice <= 2:
            operator = rng.choice([" AND ", " OR "])
            return node(BOOL, "(", self.make(BOOL, depth), operator, self.make(BOOL, depth), ")")
        if choice == 3:
            return node(BOOL, "(NOT ", self.make(BOOL, depth), ")")
        if choice == 4:
            return node(BOOL, "(", self.make(self.some_type(), depth), rng.choice([" IS NULL", " IS NOT NULL"]), ")")
        if choice == 5:
            return node(BOOL, "(", self.make(BOOL, depth), rng.choice([" IS TRUE", " IS FALSE", " IS UNKNOWN", " IS NOT TRUE", " IS NOT FALSE"]), ")",
                        duckdb=None)
        if choice == 6:
            other = self.some_type()
            word = rng.choice([" BETWEEN ", " NOT BETWEEN "])
            return node(BOOL, "(", self.make(other, depth), word, self.make(other, depth), " AND ", self.make(other, depth), ")")
        if choice in (7, 8):
            other = self.some_type()
            values = List([self.make(other, min(depth, 1)) if rng.random() < 0.3 else self.constant(other) for _ in range(rng.randint(1, 5))], least=1)
            return node(BOOL, "(", self.make(other, depth), rng.choice([" IN (", " NOT IN ("]), values, "))")
        if choice == 9:
            return self.like(depth)
        if choice in (10, 11) and self.subquery and (made := self.subquery.condition(self, self.columns, depth)):
            return made
        return self.comparison(depth)

    def comparison(self, depth):
        other = self.some_type()
        if self.rng.random() < 0.25:
            # Values of two types that are compared without a cast.
            partner = self.rng.choice(partners(other))
            return node(BOOL, "(", self.make(other, depth), f" {self.rng.choice(COMPARISONS)} ", self.make(partner, depth), ")")
        if self.rng.random() < 0.06:
            return self.row_comparison(depth)
        return node(BOOL, "(", self.make(other, depth), f" {self.rng.choice(COMPARISONS)} ", self.make(other, depth), ")")

    def row_comparison(self, depth):
        """(a, b) = (c, d), or in a list of such."""
        # DuckDB takes NULL in a row for a value.
        first, second = self.some_type(), self.some_type()
        row = lambda: node(BOOL, "(", self.make(first, min(depth, 1)), ", ", self.make(second, min(depth, 1)), ")")
        if self.rng.random() < 0.5:
            return node(BOOL, "(", row(), self.rng.choice([" = ", " <> "]), row(), ")", duckdb=None)
        return node(BOOL, "(", row(), self.rng.choice([" IN (", " NOT IN ("]), row(), ", ", row(), "))", duckdb=None)

    def like(self, depth):
        pattern = self.rng.choice(["a%", "%a", "%b%", "_", "__%", "%", "a_c", "", "%ß%", "A%"])
        word = self.rng.choice([" LIKE ", " NOT LIKE ", " ILIKE "])
        return node(BOOL, "(", self.make(TXT, depth), word, f"'{pattern}')")

    # Numbers. Columns are small, and products have factors that are leaves: nothing overflows.

    def make_int(self, type, depth):
        rng = self.rng
        a = lambda: self.make(INT, depth)
        choice = rng.randint(0, 11)
        if choice <= 2:
            return node(INT, "(", a(), rng.choice([" + ", " - "]), a(), ")")
        if choice == 3:
            # Widened: SMALLINT times SMALLINT is SMALLINT.
            return node(INT, "(", self.small(), "::integer * ", self.small(), ")")
        if choice == 4:
            return node(INT, "(", a(), rng.choice([" / ", " % "]), "nullif(", self.small(), ", 0))")
        if choice == 5:
            return node(INT, rng.choice(["abs(", "(-"]), a(), ")")
        if choice == 6:
            x = self.make(TXT, depth)
            return node(INT, rng.choice(["length(", "char_length("]), x, ")")
        if choice == 7:
            return node(INT, "strpos(", self.make(TXT, depth), ", ", self.make(TXT, 0), ")")
        if choice == 8:
            field = rng.choice(["year", "month", "day", "quarter", "dow", "doy", "week"])
            return node(INT, f"extract({field} from ", self.make(rng.choice([DATE, TS]), depth), ")::integer")
        if choice == 9:
            first, second = self.leaf(DATE), self.leaf(DATE)
            days = ["(", second, " - ", first, ")::integer"]
            return node(INT, "datediff(day, ", first, ", ", second, ")::integer", postgres=days, duckdb=days)
        if choice == 10:
            return node(INT, "sign(", self.make(INT, depth), ")::integer")
        return node(INT, "round(", self.make(dec(12, 2), depth), ")::integer", duckdb=None) if rng.random() < 0.3 else self.leaf(INT)

    def small(self):
        """A column or a constant: no larger than a table's values."""
        fitting = [column for column in self.columns if column.type == INT and 0 < column.bound <= 1000]
        return node(INT, self.rng.choice(fitting).sql) if fitting and self.rng.random() < 0.8 else self.constant(INT)

    def make_dec(self, type, depth):
        """A decimal of exactly this type, by a cast where the operation yields another one."""
        rng = self.rng
        choice = rng.randint(0, 7)
        if type.precision - type.scale < 8 or type.precision > 30:
            return self.leaf(type)
        cast = f"::decimal({type.precision},{type.scale})"
        narrow = dec(8, 2)
        if choice <= 1:
            left, right = self.leaf(narrow), self.leaf(dec(10, 4))
            return node(type, "(", left, rng.choice([" + ", " - ", " * "]), right, ")", cast, duckdb=None)
        if choice == 2:
            return self.quotient(type, cast)
        if choice == 3:
            return node(type, "(", self.leaf(narrow), rng.choice([" + ", " - ", " * "]), self.small(), ")", cast, duckdb=None)
        if choice == 4:
            return node(type, rng.choice(["abs(", "(-"]), self.make(type, depth), ")")
        if choice == 5:
            return node(type, rng.choice(["round(", "trunc("]), self.leaf(type), f", {rng.randint(0, 3)})", cast, duckdb=None)
        if choice == 6:
            return node(type, rng.choice(["floor(", "ceil("]), self.leaf(narrow), ")", cast)
        return node(type, self.small(), cast)

    def quotient(self, type, cast):
        """Redshift cuts quotients off at max(4, s1 + p2 - s2 + 1) digits; PostgreSQL is told to."""
        (p1, s1), (p2, s2) = self.rng.choice([((8, 2), (8, 2)), ((8, 2), (10, 4)), ((12, 2), (4, 0))])
        scale = max(4, s1 + p2 - s2 + 1)
        left, right = self.leaf(dec(p1, s1)), self.leaf(dec(p2, s2))
        exact = [f"(div(", left, f" * 1e{scale}::numeric, nullif(", right, f", 0)) / 1e{scale}::numeric)", cast]
        return node(type, "(", left, " / nullif(", right, ", 0))", cast, postgres=exact, duckdb=None)

    def make_flt(self, type, depth):
        rng = self.rng
        choice = rng.randint(0, 4)
        a = lambda: self.make(FLT, depth)
        if choice <= 1:
            return node(FLT, "(", a(), rng.choice([" + ", " - "]), a(), ")")
        if choice == 2:
            return node(FLT, rng.choice(["abs(", "(-", "floor(", "ceil("]), a(), ")")
        if choice == 3:
            return node(FLT, "(", self.small(), "::float8 / 4)")
        return node(FLT, "(", self.leaf(FLT), "::float8 * ", self.small(), ")")

    # Text.

    def make_txt(self, type, depth):
        rng = self.rng
        x = lambda: self.make(TXT, depth)
        choice = rng.randint(0, 10)
        if choice <= 1:
            return node(TXT, "(", x(), " || ", x(), ")")
        if choice == 2:
            return node(TXT, rng.choice(["upper(", "lower("]), self.ascii(), ")")
        if choice == 3:
            return node(TXT, rng.choice(["substring(", "substr("]), x(), f", {rng.randint(1, 4)}, {rng.randint(0, 5)})")
        if choice == 4:
            return node(TXT, rng.choice(["left(", "right("]), x(), f", {rng.randint(0, 4)})")
        if choice == 5:
            return node(TXT, "replace(", x(), f", 'a', '{rng.choice(['', 'b', 'xy'])}')")
        if choice == 6:
            return node(TXT, rng.choice(["lpad(", "rpad("]), x(), f", {rng.randint(1, 8)}, '{rng.choice(['*', 'xy'])}')")
        if choice == 7:
            return node(TXT, rng.choice(["reverse(", "rtrim(", "ltrim(", "trim("]), x(), ")")
        if choice == 8:
            return node(TXT, self.make(rng.choice([INT, DATE, INT]), depth), "::varchar(40)")
        if choice == 9:
            plain = self.leaf(rng.choice([BLK, CHR]))
            return node(TXT, "replace(rtrim(", plain, "), ' ', '')")
        first, second = x(), x()
        joined = ["(", first, " || ", second, ")"]
        return node(TXT, "concat(", first, ", ", second, ")", postgres=joined, duckdb=joined)

    def ascii(self):
        """Text without letters whose case PostgreSQL's C locale does not know."""
        return node(TXT, "replace(replace(", self.leaf(TXT), ", 'ä', ''), 'ß', 'x')")

    # Dates.

    def make_date(self, type, depth):
        rng = self.rng
        choice = rng.randint(0, 3)
        if choice == 0:
            return node(DATE, "(", self.inner_date(), rng.choice([" + ", " - "]), str(rng.randint(0, 400)), ")")
        if choice == 1:
            return node(DATE, self.leaf(TS), "::date")
        if choice == 2:
            return node(DATE, "date_trunc('", rng.choice(["month", "year", "week", "quarter"]), "', ", self.inner_date(), "::timestamp)::date")
        x = self.inner_date()
        last = ["(date_trunc('month', ", x, "::timestamp) + interval '1 month' - interval '1 day')::date"]
        return node(DATE, "last_day(", x, ")", postgres=last, duckdb=last)

    def inner_date(self):
        """A date that may be moved by a few years without leaving the calendar."""
        x = self.leaf(DATE)
        return node(DATE, "CASE WHEN ", x, " BETWEEN '0010-01-01'::date AND '9990-01-01'::date THEN ", x, " END")

    def make_ts(self, type, depth):
        rng = self.rng
        choice = rng.randint(0, 3)
        if choice == 0:
            unit = rng.choice(["hour", "day", "month", "week", "year", "minute"])
            return node(TS, "date_trunc('", unit, "', ", self.leaf(TS), ")")
        if choice == 1:
            return node(TS, self.leaf(DATE), "::timestamp")
        x = self.leaf(TS)
        inner = node(TS, "CASE WHEN ", x, " BETWEEN '0010-01-01'::timestamp AND '9990-01-01'::timestamp THEN ", x, " END")
        if choice == 2:
            amount, unit = rng.randint(-50, 50), rng.choice(["day", "hour", "minute", "second"])
            moved = ["(", inner, f" + interval '{amount} {unit}')"]
            return node(TS, f"dateadd({unit}, {amount}, ", inner, ")", postgres=moved, duckdb=moved)
        return node(TS, "(", inner, f" + interval '{rng.randint(1, 9)} {rng.choice(['days', 'hours', 'minutes'])}')")


def output_type(rng, types):
    """A type for a column of an answer: of a kind that is there, or any."""
    plain = [INT, FLT, BOOL, TXT, DATE, TS, dec(12, 2)]
    return rng.choice(types) if types and rng.random() < 0.7 else rng.choice(plain)


def partners(type):
    """Types whose values a value of this type may be compared with as they are."""
    if type in (INT, BIG):
        return [INT, BIG, dec(8, 2), dec(20, 0), FLT]
    if type.name == "dec":
        return [INT, BIG, dec(8, 2), dec(12, 2), dec(38, 20), FLT, NAN]
    if type in (FLT, NAN):
        return [INT, FLT, NAN, dec(8, 2), dec(12, 2), dec(38, 20)]
    if type in (DATE, TS):
        return [DATE, TS]
    return [BLK, CHR] if type in (BLK, CHR) else [type]
