"""Compares an answer with the reference: numbers with a small tolerance, text and dates exactly."""

# Systems keep different digits of an average or a quotient; six decimals is the fewest (Slipher, DataFusion), and cut off, not rounded.
RELATIVE = 1e-6
ABSOLUTE = 1e-6
# Columns that ORDER BY names where it leaves the order of equal rows open; the other queries order fully or give one row.
OPEN_ORDER = {3: [1, 2], 5: [1], 10: [2], 11: [1], 18: [4, 3]}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same_value(left, right):
    if is_number(left) and is_number(right):
        if isinstance(left, int) and isinstance(right, int):
            return left == right
        return abs(left - right) <= max(ABSOLUTE, RELATIVE * max(abs(left), abs(right)))
    return left == right


def same_row(left, right):
    return len(left) == len(right) and all(same_value(a, b) for a, b in zip(left, right))


def first_difference(rows, reference):
    """Where two lists of rows differ, in words; empty if they do not."""
    if len(rows) != len(reference):
        return f"{len(rows)} rows instead of {len(reference)}"
    for index, (row, expected) in enumerate(zip(rows, reference)):
        if not same_row(row, expected):
            return f"row {index + 1} is {row} instead of {expected}"
    return ""


def sort_key(row):
    # Only exact values decide first, so that digits of a sum do not change the order.
    exact = [str(value) for value in row if not isinstance(value, float)]
    return exact, [value for value in row if isinstance(value, float)]


def difference(number, rows, reference):
    """Why an answer is wrong; empty if it is right."""
    text = first_difference(rows, reference)
    if not text or number not in OPEN_ORDER:
        return text
    keys = OPEN_ORDER[number]
    ordered = [[row[key] for key in keys] for row in rows]
    if first_difference(ordered, [[row[key] for key in keys] for row in reference]):
        return text
    return first_difference(sorted(rows, key=sort_key), sorted(reference, key=sort_key))
