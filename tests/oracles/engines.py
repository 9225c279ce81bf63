"""Connections to the engines that are compared, all with one face: `run` changes something, `ask` answers rows as text."""

import datetime
import math
import os
import socket
import struct
import threading
import time

import psycopg2
import psycopg2.extensions

from tree import DUCKDB, POSTGRES, SLIPHER

# A statement that takes longer is given up: a random query may have a plan that takes hours, in any of the engines.
STATEMENT_MAX_SECONDS = 10


class Refused(Exception):
    """An engine did not answer: SQLSTATE and message."""

    def __init__(self, code, message, lost=False):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.lost = code, message, lost

    def is_unsupported(self):
        """Whether Slipher says in its own words that it does not support something; the engine's words are a mistake."""
        return self.code == "0A000" and "Physical plan does not support" not in self.message


def register_text():
    """Values stay the text that the server wrote."""
    as_text = psycopg2.extensions.new_type(tuple(range(1, 4000)), "AS_TEXT", lambda value, cursor: value)
    psycopg2.extensions.register_type(as_text)


register_text()


class Wire:
    """An engine behind the PostgreSQL protocol."""

    def __init__(self, dialect, name, **where):
        self.dialect, self.name, self.where = dialect, name, where
        self.statements, self.setup = 0, []
        self.connect()

    def connect(self):
        self.connection = psycopg2.connect(connect_timeout=10, **self.where)
        self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout TO {STATEMENT_MAX_SECONDS * 1000}")
            # All digits of floats: those of a REAL are fewer than the whole numbers have that it may be made of.
            cursor.execute("SET extra_float_digits TO 3")
            for statement in self.setup:
                cursor.execute(statement)

    def set_up(self, *statements):
        """What each new connection begins with."""
        self.setup += statements
        for statement in statements:
            self.run(statement)

    def run(self, sql):
        """Runs a statement; how many rows it changed."""
        return self.execute(sql, lambda cursor: cursor.rowcount)

    def ask(self, sql):
        """The rows of a query, as text."""
        return self.execute(sql, lambda cursor: cursor.fetchall())

    def execute(self, sql, result):
        self.statements += 1
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                return result(cursor)
        except psycopg2.Error as error:
            if self.connection.closed:
                self.reconnect(error)
            # The driver refuses a text without a statement by itself.
            text = error.diag.message_primary or str(error)
            raise Refused(error.pgcode or "driver", text) from None

    def within(self, seconds):
        """While it lasts, the connection is cut when so many seconds are over: a server may not even listen to its timeout."""
        return Cut(self.connection.fileno(), seconds)

    def reset(self):
        """A new connection: whatever the statements before left open is gone."""
        self.connection.close()
        self.connect()

    def reconnect(self, error):
        """A lost connection is a finding of its own; then it goes on with a new one."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect()
                break
            except psycopg2.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        raise Refused("lost", f"the connection was lost: {error}", lost=True) from None


class Cut:
    """Cuts a connection when its time is over."""

    def __init__(self, descriptor, seconds):
        self.timer = threading.Timer(seconds, self.cut, [descriptor])

    @staticmethod
    def cut(descriptor):
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        self.timer.start()

    def __exit__(self, *_):
        self.timer.cancel()


def slipher(name, host, port, password, user="admin", database="dev"):
    """Slipher."""
    return Wire(SLIPHER, name, host=host, port=port, user=user, password=password, dbname=database)


def postgres(port, user):
    """PostgreSQL."""
    return Wire(POSTGRES, "PostgreSQL", host="127.0.0.1", port=port, user=user, dbname="postgres")


class Duck:
    """DuckDB in this process."""

    dialect, name = DUCKDB, "DuckDB"

    def __init__(self):
        import duckdb

        self.errors = duckdb.Error
        self.connection = duckdb.connect(config={"threads": 1})
        self.statements = 0
        for setting in ("default_null_order='nulls_last_on_asc_first_on_desc'", "integer_division=true"):
            self.connection.execute(f"SET {setting}")

    def run(self, sql):
        rows = self.execute(sql)
        return rows[0][0] if rows and isinstance(rows[0][0], int) else -1

    def ask(self, sql):
        rows = self.execute(sql)
        texts = [as_text_of_real if str(column[1]) == "FLOAT" else as_text for column in self.connection.description or []]
        return [tuple(text(value) for text, value in zip(texts, row)) for row in rows]

    def execute(self, sql):
        self.statements += 1
        try:
            return self.connection.execute(sql).fetchall()
        except (self.errors, OverflowError, ValueError) as error:
            raise Refused("duckdb", str(error)) from None


def as_text_of_real(value):
    """A REAL in as few digits as tell it from all others: the package makes it a DOUBLE PRECISION, with digits that it never had."""
    if value is None or value != value or value in (math.inf, -math.inf):
        return as_text(value)
    exact = struct.pack("f", value)
    return next(text for text in (f"{value:.{digits}g}" for digits in range(1, 18)) if struct.pack("f", float(text)) == exact)


def as_text(value):
    """A value as the PostgreSQL protocol writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return str(value)
