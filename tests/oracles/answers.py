"""Comparing answers: as lists where the order is given, else as bags."""

import re
from decimal import Decimal, InvalidOperation

# Floats are equal up to this share: their last digits depend on the order of additions.
FLOAT_SHARE = 1e-9
FUZZY_SHARE = 1e-6
# Quotients of decimals, cut off after a few digits, then multiplied by 100 in places.
RATIO_SHARE, RATIO_ROOM = 1e-4, 0.02
MOMENT = re.compile(r"\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+")


def canonical(value, type):
    """A value in a form that is equal where the values are."""
    if value is None:
        return None
    if type.name in ("int", "big", "dec"):
        try:
            number = Decimal(value)
            return number if number else Decimal(0)
        except InvalidOperation:
            return value
    if type.name in ("flt", "nan", "fuzzy", "ratio"):
        number = real(value)
        return value if number is None else number
    if type.name in ("blk", "chr"):
        return value.rstrip(" ")
    if type.name == "loose":
        # While a query is made smaller, its columns' types are not known.
        number = real(value)
        return of_moment(value.rstrip(" ")) if number is None else number
    if type.name == "ts":
        return of_moment(value)
    return value


def real(value):
    """A float that is equal to itself; None where `value` is no number."""
    try:
        number = float(value)
    except ValueError:
        return None
    return "NaN" if number != number else number + 0.0


def of_moment(value):
    """A moment without zeros at the end of its fraction."""
    return value.rstrip("0").rstrip(".") if MOMENT.fullmatch(value) else value


def prepared(rows, types):
    return [tuple(canonical(value, type) for value, type in zip(row, types)) for row in rows]


def same_value(left, right, type):
    if isinstance(left, float) and isinstance(right, float):
        if type.name in ("ratio", "loose"):
            # Two infinities have no difference.
            return left == right or abs(left - right) <= RATIO_SHARE * abs(left) + RATIO_ROOM
        share = FUZZY_SHARE if type.name == "fuzzy" else FLOAT_SHARE
        return left == right or abs(left - right) <= share * max(abs(left), abs(right), 1e-300)
    return left == right


def same_row(left, right, types):
    return len(left) == len(right) and all(same_value(a, b, type) for a, b, type in zip(left, right, types))


def sort_key(row):
    """Floats last and rounded: rows that are equal but for the last digits of a float sort alike."""
    exact = tuple((value is None, str(type(value)), "" if value is None else str(value)) for value in row if not isinstance(value, float))
    return exact, tuple(float(f"{value:.6g}") for value in row if isinstance(value, float))


def difference(expected, actual, types, ordered):
    """None when the answers are the same; else what differs, in words."""
    left, right = prepared(expected, types), prepared(actual, types)
    if not ordered:
        left, right = sorted(left, key=sort_key), sorted(right, key=sort_key)
    if len(left) == len(right) and all(same_row(a, b, types) for a, b in zip(left, right)):
        return None
    missing, extra = without(left, right, types), without(right, left, types)
    if not missing and not extra:
        if not ordered:
            return None
        return f"the same {len(left)} rows in another order"
    return f"{len(right)} rows, {len(left)} expected; {len(missing)} missing, {len(extra)} too many"


def without(left, right, types):
    """Rows of `left` that `right` has not, or not as often. Floats make it quadratic only among rows that equal otherwise."""
    buckets = {}
    for row in right:
        buckets.setdefault(exact_part(row), []).append(row)
    kept = []
    for row in left:
        bucket = buckets.get(exact_part(row), [])
        found = next((index for index, other in enumerate(bucket) if same_row(row, other, types)), None)
        if found is None:
            kept.append(row)
        else:
            bucket.pop(found)
    return kept


def exact_part(row):
    return tuple("float" if isinstance(value, float) else value for value in row)


def table(rows, most=12):
    """Rows for a person."""
    if not rows:
        return "    (no rows)"
    lines = ["    " + " | ".join("∅" if value is None else repr(value)[1:-1] if isinstance(value, str) else str(value) for value in row) for row in rows[:most]]
    if len(rows) > most:
        lines.append(f"    … {len(rows) - most} more")
    return "\n".join(lines)
