"""Numbers: arithmetic with its result types, functions, casts."""

import math
from decimal import ROUND_DOWN, Decimal, getcontext

getcontext().prec = 120

# Typed values: of each type some at its edges.
VALUES = {
    "smallint": ["0", "1", "-1", "7", "32767", "-32768", "NULL"],
    "integer": ["0", "1", "-1", "12", "2147483647", "-2147483648", "NULL"],
    "bigint": ["0", "3", "-3", "9223372036854775807", "-9223372036854775808", "NULL"],
    "decimal(8,2)": ["0", "1.50", "-1.50", "999999.99", "-999999.99", "0.01", "NULL"],
    "decimal(18,6)": ["0", "2.5", "-0.000001", "123456789012.345678", "NULL"],
    "decimal(38,0)": ["0", "7", "99999999999999999999999999999999999999", "NULL"],
    "real": ["0", "1.5", "-2.25", "16777216", "NULL"],
    "float8": ["0", "0.1", "-2.5", "1e300", "NULL"],
}
OPERATORS = ["+", "-", "*", "/", "%"]


def typed(value, type):
    return f"'{value}'::{type}" if value != "NULL" else f"NULL::{type}"


def integers(file):
    """Operators over whole numbers of all widths: the wider one counts."""
    kinds = ["smallint", "integer", "bigint"]
    for left in kinds:
        for right in kinds:
            for a in VALUES[left][:6]:
                for b in ("0", "1", "-1", "7", "NULL"):
                    for operator in OPERATORS:
                        file.case(f"SELECT {typed(a, left)} {operator} {typed(b, right)}")
    for left in kinds:
        for value in VALUES[left]:
            for right in ("3", "0", "NULL", "-5"):
                for operator in ("&", "|"):
                    file.case(f"SELECT {typed(value, left)} {operator} {typed(right, left)}")
                file.case(f"SELECT {typed(value, left)} # {typed(right, left)}")
            for shift in (0, 1, 3):
                file.case(f"SELECT {typed(value, left)} << {shift}")
                file.case(f"SELECT {typed(value, left)} >> {shift}")
            file.case(f"SELECT ~ {typed(value, left)}")
            file.case(f"SELECT - {typed(value, left)}")


def result_type(operator, p1, s1, p2, s2):
    """Redshift's "Computations with numeric values"; the scale gives way where there are more than 38 digits."""
    if operator in "+-":
        scale = max(s1, s2)
        precision = max(p1 - s1, p2 - s2) + 1 + scale
    elif operator == "*":
        scale, precision = s1 + s2, p1 + p2 + 1
    else:
        scale = max(4, s1 + p2 - s2 + 1)
        precision = p1 - s1 + s2 + scale
    return precision, scale


def decimals(file):
    """Operators over decimals: the value cut off at the scale that Redshift documents, computed here."""
    types = [(4, 0), (8, 2), (10, 4), (12, 2), (5, 5), (9, 3)]
    numbers = {0: ["7", "-3", "1234"], 2: ["1.50", "-0.25", "999.99"], 4: ["2.0001", "-33.3333"], 5: ["0.00001", "-0.50000"], 3: ["12.345", "-0.001"]}
    for p1, s1 in types:
        for p2, s2 in types:
            for operator in "+-*/":
                precision, scale = result_type(operator, p1, s1, p2, s2)
                if precision > 38:
                    continue
                for a in numbers[s1][:2]:
                    for b in numbers[s2][:2]:
                        x, y = Decimal(a), Decimal(b)
                        exact = {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[operator]
                        value = exact.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_DOWN)
                        # Not minus zero.
                        text = f"{value:f}" if value else f"{abs(value):f}"
                        file.case(f"SELECT {typed(a, f'decimal({p1},{s1})')} {operator} {typed(b, f'decimal({p2},{s2})')}", expected=Exact(text))
                file.case(f"types of SELECT NULL::decimal({p1},{s1}) {operator} NULL::decimal({p2},{s2})", expected=f"numeric({precision},{scale})")


class Exact(str):
    """A number whose digits count, those at its end too."""

    exact = True


def mixed(file):
    """Numbers of two types: the value."""
    kinds = list(VALUES)
    for left in kinds:
        for right in kinds:
            decimal_pair = "decimal" in left + right and not {"real", "float8"} & {left, right}
            for operator in ("+", "-", "*", "=", "<", "<>", ">="):
                for a, b in ((VALUES[left][1], VALUES[right][2]), (VALUES[left][2], VALUES[right][1]), ("NULL", VALUES[right][1])):
                    # A REAL beside a decimal is a DOUBLE PRECISION in Redshift, as in PostgreSQL.
                    file.case(f"SELECT {typed(a, left)} {operator} {typed(b, right)}")
            if not decimal_pair:
                for a, b in ((VALUES[left][1], VALUES[right][2]), (VALUES[left][2], VALUES[right][1])):
                    file.case(f"SELECT {typed(a, left)} / {typed(b, right)}")


def functions(file):
    one = ["0", "1", "-1", "0.5", "-0.5", "2.5", "-2.5", "1.23456789", "100", "NULL"]
    for type in ("float8", "decimal(12,4)", "integer", "bigint", "real"):
        for value in one:
            if type in ("integer", "bigint") and "." in value:
                continue
            x = typed(value, type)
            for function in ("abs", "ceil", "ceiling", "floor", "sign"):
                file.case(f"SELECT {function}({x})")
            if type != "real":
                file.case(f"SELECT round({x})")
                file.case(f"SELECT trunc({x})")
            for function in ("sqrt", "exp", "ln", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "degrees", "radians"):
                file.case(f"SELECT {function}({x})", f"SELECT {function}({x}::float8)")
            file.case(f"SELECT log({x})", f"SELECT log({x}::float8)")
            file.case(f"SELECT dexp({x})", f"SELECT exp({x}::float8)")
            file.case(f"SELECT dlog1({x})", f"SELECT ln({x}::float8)")
            file.case(f"SELECT dlog10({x})", f"SELECT log({x}::float8)")
            file.case(f"SELECT cot({x})", f"SELECT cot({x}::float8)")
    for value in ("0", "1.005", "-1.005", "2.5", "-2.5", "1234.5678", "999.9999", "0.0001", "NULL"):
        for digits in (-3, -2, -1, 0, 1, 2, 3, 4):
            for function in ("round", "trunc"):
                file.case(f"SELECT {function}({typed(value, 'decimal(12,4)')}, {digits})")
    for a in ("0", "2", "-2", "0.5", "10", "NULL"):
        for b in ("0", "2", "-1", "0.5", "3", "NULL"):
            for function in ("power", "pow"):
                file.case(f"SELECT {function}({typed(a, 'float8')}, {typed(b, 'float8')})")
            file.case(f"SELECT atan2({typed(a, 'float8')}, {typed(b, 'float8')})")
    for a in ("17", "-17", "0", "NULL", "5"):
        for b in ("5", "-5", "3", "0", "NULL"):
            file.case(f"SELECT mod({a}, {b})")
            file.case(f"SELECT mod({typed(a, 'decimal(8,2)')}, {typed(b, 'decimal(8,2)')})")
            file.case(f"SELECT mod({typed(a, 'bigint')}, {typed(b, 'smallint')})")
            file.case(f"SELECT greatest({a}, {b})")
            file.case(f"SELECT least({a}, {b})")
            file.case(f"SELECT nullif({a}, {b})")
            file.case(f"SELECT coalesce({a}, {b})")
            file.case(f"SELECT nvl({a}, {b})", f"SELECT coalesce({a}, {b})")
            file.case(f"SELECT nvl2({a}, {b}, 99)", f"SELECT CASE WHEN {a} IS NOT NULL THEN {b} ELSE 99 END")
            file.case(f"SELECT decode({a}, {b}, 'same', 17, 'seventeen', 'other')", f"SELECT CASE WHEN {a} IS NOT DISTINCT FROM {b} THEN 'same' WHEN {a} IS NOT DISTINCT FROM 17 THEN 'seventeen' ELSE 'other' END")
    file.case("SELECT pi()")


# What a type is called in messages and files, and values that are read as it.
CASTS = {
    "smallint": ["0", "-7", "32767"], "integer": ["1", "-12", "2147483647"], "bigint": ["0", "70000", "-9223372036854775807"],
    "decimal(8,2)": ["1.50", "-2.49", "99999.99", "0"], "real": ["1.5", "-2.5", "0"], "float8": ["0.1", "1e20", "-3.7", "0"], "boolean": ["true", "false"],
    "date": ["2024-02-29", "1999-12-31"], "timestamp": ["2024-02-29 13:14:15.5", "2000-01-01 00:00:00"], "time": ["13:14:15", "23:59:59.999999"],
    "timetz": ["13:14:15+02"], "timestamptz": ["2024-02-29 13:14:15+00"],
    "varchar(40)": ["", "1", "-12", "1.5", "1e3", " 7 ", "abc", "true", "f", "yes", "2024-02-29", "2024-02-30", "2024-02-29 13:14:15", "13:14:15", "99999", "3000000000",
                    "1e400", "NaN", "12:34", "2024-13-01", "0x10", "1_000", "+5", "--5", ".5", "5."],
}
TARGETS = ["smallint", "integer", "bigint", "decimal(8,2)", "decimal(4,0)", "decimal(38,10)", "real", "float8", "boolean", "date", "timestamp", "time", "timetz", "timestamptz",
           "varchar(40)", "varchar(3)", "char(5)", "text"]


def casts(file):
    for source, values in CASTS.items():
        for target in TARGETS:
            for value in [*values, "NULL"]:
                file.case(f"SELECT {typed(value, source)}::{target}")
    for source, values in CASTS.items():
        for target in ("integer", "varchar(40)", "decimal(10,3)", "date"):
            file.case(f"SELECT CAST({typed(values[0], source)} AS {target})")
            file.case(f"SELECT CONVERT({target}, {typed(values[0], source)})", f"SELECT CAST({typed(values[0], source)} AS {target})")


FILES = {
    "integers.slt": ("Operators over whole numbers, at the ends of their ranges too.", integers),
    "decimals.slt": ("Operators over decimals: digits as documented, the rest cut off.", decimals),
    "mixed_numbers.slt": ("Operators over numbers of two types.", mixed),
    "number_functions.slt": ("Functions of numbers.", functions),
    "casts.slt": ("Casts between all types.", casts),
}
