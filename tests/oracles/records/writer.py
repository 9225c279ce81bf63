"""Writes .slt files whose values two sources agree on: Slipher, and PostgreSQL or a value that the caller knows."""

import os
import re
import struct
import zlib
from decimal import Decimal

import psycopg2
import psycopg2.extensions

DIRECTORY = os.path.join(os.path.dirname(__file__), "..", "..", "slt", "values")
LETTERS = {21: "I", 23: "I", 20: "I", 1700: "N", 700: "R", 701: "R", 16: "B", 1043: "T", 1042: "T", 25: "T", 19: "T", 1082: "D", 1083: "O", 1114: "P",
           1266: "Z", 1184: "Z"}
# Equal but for the last digits: the libraries' functions differ there.
REAL_SHARE = 1e-13
DIGITS_MAX = 38

psycopg2.extensions.register_type(psycopg2.extensions.new_type(tuple(range(1, 4000)), "AS_TEXT", lambda value, cursor: value))


class Engine:
    """A connection; `ask` answers (letters, rows) or an `Error`."""

    def __init__(self, **where):
        self.connection = psycopg2.connect(**where)
        self.connection.autocommit = True

    def run(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def ask(self, sql):
        if sql.startswith("types of "):
            return self.types(sql.removeprefix("types of "))
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                return "".join(LETTERS.get(column.type_code, "?") for column in cursor.description), cursor.fetchall()
        except psycopg2.Error as error:
            return Error(error.pgcode, error.diag.message_primary or str(error))


    def types(self, sql):
        """The types that a client is told of, as the files have them."""
        names = {21: "int2", 23: "int4", 20: "int8", 1700: "numeric", 700: "float4", 701: "float8", 16: "bool", 1082: "date", 1114: "timestamp", 1043: "varchar"}
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                described = [names[column.type_code] + (f"({column.precision},{column.scale})" if column.type_code == 1700 else "") for column in cursor.description]
                return "T" * len(described), [tuple(described)]
        except psycopg2.Error as error:
            return Error(error.pgcode, error.diag.message_primary or str(error))


class Error:
    """A refusal."""

    def __init__(self, code, message):
        self.code, self.message = code, message

    def __repr__(self):
        return f"{self.code}: {self.message}"


def shown(value):
    """A cell as the files have it."""
    if value is None:
        return "NULL"
    if value == "":
        return "(empty)"
    return f"'{value}'" if value.strip() != value else value.replace("\n", "\\n")


def same(letter, left, right):
    """Whether two texts stand for one value."""
    if left is None or right is None or left == right or getattr(right, "exact", False):
        return left == right
    try:
        if letter in "IN":
            return Decimal(left) == Decimal(right)
        if letter == "R":
            left, right = float(left), float(right)
            return left == right or left != left and right != right or abs(left - right) <= REAL_SHARE * max(abs(left), abs(right)) \
                or struct.pack("f", left) == struct.pack("f", right)
    except (ArithmeticError, ValueError, OverflowError):
        pass
    return False


def within_digits(answer):
    """PostgreSQL's numbers have more digits than a DECIMAL can."""
    if isinstance(answer, Error) or answer[0] != "N" or len(answer[1]) != 1 or answer[1][0][0] in (None, "NaN"):
        return answer
    return Error("22003", "") if len(str(abs(int(Decimal(answer[1][0][0]))))) > DIGITS_MAX else answer


class File:
    """A file of records; what the two sources do not agree on is kept in `open` and not written."""

    seen = set()

    def __init__(self, name, about, slipher, reference, share=1.0):
        self.name, self.slipher, self.reference, self.share = name, slipher, reference, share
        self.lines, self.open, self.count = [f"# {about}", ""], [], 0

    def setup(self, sql, reference=None):
        """A statement that both run; `reference`: how PostgreSQL writes it, "" when it has not to."""
        if sql.startswith("CREATE SCHEMA "):
            # Left by a run before.
            self.slipher.run(f"DROP SCHEMA IF EXISTS {sql.split()[-1]} CASCADE")
        self.slipher.run(sql)
        if reference != "":
            self.reference.run(reference or sql)
        self.lines += ["statement ok", sql, ""]
        self.count += 1

    def comment(self, text):
        self.lines += [f"# {text}"]

    def case(self, sql, reference=None, expected=None, error=None):
        """A query. `expected`: its only value where PostgreSQL cannot be asked; `error`: the SQLSTATE that is right."""
        if (self.name, sql) in File.seen:
            return
        File.seen.add((self.name, sql))
        # Always the same ones: a file stays as it is when cases are added to its maker.
        if zlib.crc32(sql.encode()) % 1000 >= self.share * 1000:
            return
        answer = self.slipher.ask(sql)
        if error is not None:
            wanted = Error(error, "")
        elif expected is not None:
            wanted = (None, [tuple(expected)] if isinstance(expected, (list, tuple)) else [(expected,)])
        else:
            wanted = within_digits(self.reference.ask(reference or sql))
        if self.agree(answer, wanted):
            self.write(sql, answer)
        else:
            self.open.append((sql, answer if isinstance(answer, Error) else answer, wanted))

    def agree(self, answer, wanted):
        if isinstance(answer, Error) or isinstance(wanted, Error):
            return isinstance(answer, Error) and isinstance(wanted, Error) and answer.code == wanted.code
        letters, rows = answer
        return len(rows) == len(wanted[1]) and all(
            len(row) == len(other) and all(same(letter, a, b) for letter, a, b in zip(letters, row, other)) for row, other in zip(rows, wanted[1]))

    def write(self, sql, answer):
        self.count += 1
        if isinstance(answer, Error):
            message = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", answer.message)
            self.lines += [f"statement error {answer.code}: {message}", sql, ""]
            return
        letters, rows = answer
        self.lines += [f"query {letters}", sql, "----", *("|".join(shown(cell) for cell in row) for row in rows), ""]

    def close(self):
        os.makedirs(DIRECTORY, exist_ok=True)
        with open(os.path.join(DIRECTORY, self.name), "w", encoding="utf-8") as file:
            file.write("\n".join(self.lines).rstrip("\n") + "\n")
        print(f"{self.name}: {self.count} records, {len(self.open)} not agreed on", flush=True)
        with open(f"/tmp/records-{self.name.replace('/', '-')}.open", "w", encoding="utf-8") as file:
            for sql, answer, wanted in self.open:
                brief = lambda what: repr(what) if isinstance(what, Error) else str(what[1])
                file.write(f"{sql}\n   got    {brief(answer)}\n   wanted {brief(wanted)}\n")
