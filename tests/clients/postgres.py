"""psycopg2 as a client of a running Slipher: python postgres.py HOST PORT USER PASSWORD

Prints "N passed, 0 failed" and exits with 0 when every check holds. Needs the package psycopg2-binary.
"""

import ctypes
import datetime
import decimal
import math
import pathlib
import socket
import sys
import threading
import time

import psycopg2

DATABASE = "dev"
CANCEL_MAX_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 10
ROWS = 1000
UTC = datetime.timezone.utc

# SQL, the value psycopg2 makes of it, and the type's OID.
LITERALS = [
    ("CAST(-7 AS SMALLINT)", -7, 21),
    ("CAST(2147483647 AS INTEGER)", 2147483647, 23),
    ("CAST(-9223372036854775807 AS BIGINT)", -9223372036854775807, 20),
    ("CAST(12.3 AS DECIMAL(10,2))", decimal.Decimal("12.30"), 1700),
    ("CAST(-0.05 AS DECIMAL(38,4))", decimal.Decimal("-0.0500"), 1700),
    ("CAST(1.5 AS REAL)", 1.5, 700),
    ("CAST(0.1 AS DOUBLE PRECISION)", 0.1, 701),
    ("CAST(1e300 AS DOUBLE PRECISION)", 1e300, 701),
    ("TRUE", True, 16),
    ("CAST('héllo' AS VARCHAR(20))", "héllo", 1043),
    ("'it''s'", "it's", 1043),
    ("CAST('2024-02-29' AS DATE)", datetime.date(2024, 2, 29), 1082),
    ("CAST('03:04:05.5' AS TIME)", datetime.time(3, 4, 5, 500000), 1083),
    (
        "CAST('2024-01-02 03:04:05.123' AS TIMESTAMP)",
        datetime.datetime(2024, 1, 2, 3, 4, 5, 123000),
        1114,
    ),
    (
        "CAST('2024-01-02 03:04:05+00' AS TIMESTAMPTZ)",
        datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        1184,
    ),
    ("CAST(NULL AS INTEGER)", None, 23),
]

# What goes into the table by INSERT with parameters and must come back the same.
TABLE_ROWS = [
    (
        1,
        decimal.Decimal("12345678.90"),
        True,
        "plain",
        "naïve \\ 'quoted' \"twice\" %",
        datetime.date(1999, 12, 31),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
        1.25,
    ),
    (2, decimal.Decimal("-0.01"), False, "", "", datetime.date(2024, 2, 29), datetime.datetime(1969, 12, 31, 23, 59, 59), -0.0),
    (3, None, None, None, None, None, None, None),
]


class Checks:
    """Counts checks and tells of those that fail."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def that(self, holds, what):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}")

    def equal(self, actual, expected, what):
        self.that(
            actual == expected and type(actual) is type(expected),
            f"{what}: {actual!r} instead of {expected!r}",
        )

    def error(self, run, sqlstate, what):
        """The error of `run`, which must have `sqlstate`; None when there is none."""
        try:
            run()
        except psycopg2.Error as error:
            self.equal(error.pgcode, sqlstate, f"{what}: {error}")
            return error
        self.that(False, f"{what}: no error")
        return None


def connect(target, password=None):
    host, port, user, own_password = target
    return psycopg2.connect(
        host=host,
        port=port,
        user=user,
        password=own_password if password is None else password,
        dbname=DATABASE,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
    )


def check_connection(checks, target):
    # libpq gives no SQLSTATE for a failed connection, only the server's message.
    for user in (target[2], "no_such_user"):
        try:
            connect((target[0], target[1], user, "wrong"))
            checks.that(False, f"{user} connected with a wrong password")
        except psycopg2.OperationalError as error:
            checks.that("password authentication failed" in str(error), f"wrong password of {user}: {error}")
    connection = connect(target)
    checks.equal(connection.server_version, 80002, "server version")
    checks.equal(connection.encoding, "UTF8", "client encoding")
    checks.equal(connection.get_parameter_status("standard_conforming_strings"), "off", "standard_conforming_strings")
    checks.equal(connection.get_parameter_status("integer_datetimes"), "on", "integer_datetimes")
    checks.that(str(connection.get_parameter_status("DateStyle")).startswith("ISO"), "DateStyle is ISO")
    connection.close()


def check_literals(checks, cursor):
    for sql, expected, oid in LITERALS:
        cursor.execute("SELECT " + sql + " AS value")
        value = cursor.fetchone()[0]
        checks.equal(value, expected, sql)
        checks.equal(cursor.description[0].name, "value", f"name of {sql}")
        checks.equal(cursor.description[0].type_code, oid, f"type of {sql}")
    cursor.execute("SELECT CAST('NaN' AS DOUBLE PRECISION)")
    checks.that(math.isnan(cursor.fetchone()[0]), "NaN")
    cursor.execute("SELECT CAST(1 AS DECIMAL(10,2))")
    checks.equal((cursor.description[0].precision, cursor.description[0].scale), (10, 2), "precision and scale")


def check_table(checks, cursor):
    cursor.execute("DROP TABLE IF EXISTS client_types")
    cursor.execute(
        "CREATE TABLE client_types (id INTEGER NOT NULL, amount DECIMAL(10,2), flag BOOLEAN, code CHAR(8), "
        "name VARCHAR(100), day DATE, moment TIMESTAMP, ratio DOUBLE PRECISION) DISTKEY(id) SORTKEY(id)"
    )
    checks.equal(cursor.statusmessage, "CREATE TABLE", "tag of CREATE TABLE")
    for row in TABLE_ROWS:
        cursor.execute("INSERT INTO client_types VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
        checks.equal((cursor.statusmessage, cursor.rowcount), ("INSERT 0 1", 1), "tag of INSERT")
    cursor.execute("SELECT id, amount, flag, code, name, day, moment, ratio FROM client_types ORDER BY id")
    checks.equal(cursor.statusmessage, f"SELECT {len(TABLE_ROWS)}", "tag of SELECT")
    for actual, expected in zip(cursor.fetchall(), TABLE_ROWS):
        # CHAR comes back with its blanks.
        padded = tuple(value.ljust(8) if column == 3 and value is not None else value for column, value in enumerate(expected))
        checks.equal(actual, padded, f"row {expected[0]}")
    codes = {column.name: column.type_code for column in cursor.description}
    checks.equal((codes["code"], codes["name"]), (1042, 1043), "types of CHAR and VARCHAR")
    cursor.execute("SELECT count(*), sum(amount), max(day) FROM client_types WHERE id < %s", (3,))
    checks.equal(cursor.fetchone(), (2, decimal.Decimal("12345678.89"), datetime.date(2024, 2, 29)), "aggregate")
    cursor.execute("SELECT id FROM client_types WHERE name = %s", (TABLE_ROWS[0][4],))
    checks.equal(cursor.fetchall(), [(1,)], "a quoted parameter")
    cursor.execute("SELECT id FROM client_types WHERE id < 0")
    checks.equal((cursor.statusmessage, cursor.fetchall()), ("SELECT 0", []), "no rows")
    cursor.execute("DROP TABLE client_types")


def check_errors(checks, connection, cursor):
    cursor.execute("CREATE TABLE client_errors (account_length INTEGER)")
    statement = "SELECT account_length, acount_length FROM client_errors"
    error = checks.error(lambda: cursor.execute(statement), "42703", "unknown column")
    if error is not None:
        checks.equal(error.diag.statement_position, str(statement.index("acount_length") + 1), "position of the unknown column")
        checks.that("account_length" in str(error.diag.message_hint), "the hint names the column that is meant")
        checks.equal(error.diag.severity, "ERROR", "severity")
    checks.error(lambda: cursor.execute("SELECT 1 FROM no_such_table"), "42P01", "unknown table")
    checks.error(lambda: cursor.execute("SELEC 1"), "42601", "syntax error")
    checks.error(lambda: cursor.execute("SELECT 1; SELECT 1/0; SELECT 2"), "22012", "division by zero")
    cursor.execute("SELECT 1; SELECT 2 AS two")
    checks.equal(cursor.fetchall(), [(2,)], "the connection goes on, and the last statement's rows come back")
    cursor.execute("DROP TABLE client_errors")
    connection.autocommit = False
    try:
        cursor.execute("SELECT 1")
        checks.equal(connection.get_transaction_status(), psycopg2.extensions.TRANSACTION_STATUS_INTRANS, "BEGIN opens a transaction")
        connection.rollback()
        checks.equal(connection.get_transaction_status(), psycopg2.extensions.TRANSACTION_STATUS_IDLE, "ROLLBACK ends it")
    finally:
        connection.autocommit = True


def check_cancel(checks, connection, cursor):
    cursor.execute("DROP TABLE IF EXISTS client_numbers")
    cursor.execute("CREATE TABLE client_numbers (n BIGINT)")
    cursor.execute("INSERT INTO client_numbers VALUES " + ", ".join(f"({n})" for n in range(ROWS)))
    checks.equal(cursor.rowcount, ROWS, "rows of a long INSERT")
    cancelled_at = []

    def cancel():
        time.sleep(0.5)
        cancelled_at.append(time.monotonic())
        connection.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    endless = (
        "SELECT count(*) FROM client_numbers a, client_numbers b, client_numbers c, client_numbers d "
        "WHERE a.n * 3 + b.n * 5 + c.n * 7 + d.n = -1"
    )
    checks.error(lambda: cursor.execute(endless), "57014", "cancelled query")
    ended_at = time.monotonic()
    thread.join()
    taken = ended_at - cancelled_at[0]
    checks.that(taken < CANCEL_MAX_SECONDS, f"cancelling took {taken:.2f} s")
    cursor.execute("SELECT count(*) FROM client_numbers")
    checks.equal(cursor.fetchone(), (ROWS,), "the session goes on after a cancelled query")
    cursor.execute("DROP TABLE client_numbers")


def check_named_cursor(checks, target):
    connection = connect(target)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE client_portions (n BIGINT)")
    cursor.execute("INSERT INTO client_portions VALUES " + ", ".join(f"({n})" for n in range(5000)))
    connection.commit()
    with connection.cursor("portions") as named:
        named.itersize = 700
        named.execute("SELECT n FROM client_portions ORDER BY n")
        checks.equal([row[0] for row in named], list(range(5000)), "rows of a named cursor")
    connection.rollback()
    cursor.execute("DROP TABLE client_portions")
    connection.rollback()
    cursor.execute("DROP TABLE client_portions")
    connection.commit()
    connection.close()


class Libpq:
    """The calls of libpq that psycopg2 has none for, over its connection."""

    def __init__(self, connection):
        self.calls = ctypes.CDLL(str(next(pathlib.Path(psycopg2.__file__).parent.parent.glob("psycopg2_binary.libs/libpq-*"))))
        self.connection = ctypes.c_void_p(connection.pgconn_ptr)
        self.calls.PQprepare.restype = self.calls.PQdescribePrepared.restype = ctypes.c_void_p
        self.calls.PQfname.restype = self.calls.PQresultErrorMessage.restype = ctypes.c_char_p

    def prepare(self, name, sql):
        self.calls.PQclear(ctypes.c_void_p(self.calls.PQprepare(self.connection, name.encode(), sql.encode(), 0, None)))

    def columns(self, name):
        """The names and types of a prepared statement's columns, or the error."""
        result = ctypes.c_void_p(self.calls.PQdescribePrepared(self.connection, name.encode()))
        count = self.calls.PQnfields(result)
        columns = [(self.calls.PQfname(result, n).decode(), self.calls.PQftype(result, n)) for n in range(count)]
        said = columns or self.calls.PQresultErrorMessage(result).decode()
        self.calls.PQclear(result)
        return said


def check_descriptions(checks, target):
    connection, other = connect(target), connect(target)
    connection.autocommit = other.autocommit = True
    cursor, elsewhere = connection.cursor(), other.cursor()
    cursor.execute("CREATE TABLE client_described (n INTEGER)")
    libpq = Libpq(connection)
    libpq.prepare("all", "SELECT * FROM client_described")
    checks.equal(libpq.columns("all"), [("n", 23)], "columns of a prepared statement")
    elsewhere.execute("INSERT INTO client_described VALUES (1)")
    checks.equal(libpq.columns("all"), [("n", 23)], "columns after rows came")
    elsewhere.execute("ALTER TABLE client_described RENAME COLUMN n TO m")
    checks.equal(libpq.columns("all"), [("m", 23)], "columns after another session renamed one")
    cursor.execute("BEGIN")
    cursor.execute("ALTER TABLE client_described ADD COLUMN v VARCHAR(20)")
    checks.equal(libpq.columns("all"), [("m", 23), ("v", 1043)], "columns in a block that adds one")
    cursor.execute("ROLLBACK")
    checks.equal(libpq.columns("all"), [("m", 23)], "columns after ROLLBACK")
    cursor.execute("CREATE TEMP TABLE client_described (d DATE)")
    checks.equal(libpq.columns("all"), [("d", 1082)], "columns of a temporary table of the same name")
    cursor.execute("DROP TABLE client_described")
    cursor.execute("SET search_path TO pg_catalog")
    checks.that("does not exist" in str(libpq.columns("all")), "a name that is not on the search path any more")
    cursor.execute("RESET search_path")
    checks.equal(libpq.columns("all"), [("m", 23)], "columns with the search path of before")
    elsewhere.execute("DROP TABLE client_described")
    checks.that("does not exist" in str(libpq.columns("all")), "a table that is gone")
    connection.close()
    other.close()


def check_idle(checks, target):
    connection = connect(target)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET idle_session_timeout TO 300")
    time.sleep(0.1)
    cursor.execute("SELECT 1")
    time.sleep(1.0)
    # libpq takes what comes between statements for a notice, and psycopg2 shows none of a connection that is gone.
    with socket.socket(fileno=connection.fileno()) as raw:
        said = raw.recv(4096)
        raw.detach()
    checks.that(b"57P05" in said and b"idle-session timeout" in said, f"the end of an idle session says why: {said}")
    connection.close()


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    target = (sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
    checks = Checks()
    check_connection(checks, target)
    connection = connect(target)
    connection.autocommit = True
    cursor = connection.cursor()
    parts = [
        ("literals", lambda: check_literals(checks, cursor)),
        ("table", lambda: check_table(checks, cursor)),
        ("errors", lambda: check_errors(checks, connection, cursor)),
        ("named cursor", lambda: check_named_cursor(checks, target)),
        ("descriptions", lambda: check_descriptions(checks, target)),
        ("idle", lambda: check_idle(checks, target)),
        ("cancel", lambda: check_cancel(checks, connection, cursor)),
    ]
    for name, run in parts:
        try:
            run()
        except psycopg2.Error as error:
            checks.that(False, f"{name} broke off: {error.pgcode} {error}")
    connection.close()
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
