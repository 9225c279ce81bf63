"""Encrypted connections of every protocol to a running Slipher.

    pip install psycopg2-binary adbc-driver-flightsql adbc-driver-manager pyarrow
    python tls.py PG_PORT FLIGHT_PORT HTTP_PORT PASSWORD ROOT_CERTIFICATE SLIPHER required|optional

Prints one line for each check and `N passed, M failed`; the exit code is 0 only when none failed.
"""

import base64
import http.client
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import psycopg2
from checks import check, expect, expect_in, run

SSL_REQUEST = struct.pack("!II", 8, 80877103)
STARTUP = b"user\0admin\0database\0dev\0\0"
STARTUP = struct.pack("!II", len(STARTUP) + 8, 3 << 16) + STARTUP


class Target:
    def __init__(self, pg_port, flight_port, http_port, password, root, slipher, mode):
        self.pg_port, self.flight_port, self.http_port = int(pg_port), int(flight_port), int(http_port)
        self.password, self.root, self.slipher, self.required = password, root, slipher, mode == "required"

    def postgres(self, **options):
        return psycopg2.connect(
            host="localhost", port=self.pg_port, user="admin", password=self.password, dbname="dev", **options
        )

    def flight(self, scheme="grpc+tls", roots=True):
        options = {"username": "admin", "password": self.password}
        if roots:
            options["adbc.flight.sql.client_option.tls_root_certs"] = pathlib.Path(self.root).read_text()
        return flight_sql.connect(f"{scheme}://localhost:{self.flight_port}", db_kwargs=options, autocommit=True)

    def sql(self, scheme, *arguments):
        url = f"{scheme}://admin:{self.password}@localhost:{self.flight_port}/dev"
        command = [self.slipher, "sql", "--url", url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def context(self):
        return ssl.create_default_context(cafile=self.root)


def raises(kind, action):
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


@check
def postgres_is_encrypted(target):
    """psycopg2 with verify-full is encrypted and can load, read and cancel"""
    connection = target.postgres(sslmode="verify-full", sslrootcert=target.root)
    connection.autocommit = True
    expect(connection.info.ssl_in_use, True)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE tls_t (n BIGINT, s VARCHAR(1000)) DISTKEY(n)")
    cursor.execute("INSERT INTO tls_t VALUES " + ", ".join(f"({n}, '{'x' * 900}')" for n in range(3000)))
    cursor.execute("SELECT n, s FROM tls_t")
    rows = cursor.fetchall()
    expect((len(rows), sum(n for n, _ in rows), {len(s) for _, s in rows}), (3000, 2999 * 1500, {900}))
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    endless = "SELECT count(*) FROM tls_t a, tls_t b, tls_t c WHERE a.n + b.n + c.n < 0"
    expect_in("cancel", raises(psycopg2.Error, lambda: cursor.execute(endless)))
    timer.join()
    connection.close()


@check
def unknown_roots(target):
    """clients that do not trust the certificate refuse it"""
    expect_in("certificate verify failed", raises(psycopg2.OperationalError, lambda: target.postgres(sslmode="verify-full", sslrootcert="system")))
    raises(adbc_driver_manager.Error, lambda: target.flight(roots=False).cursor().execute("SELECT 1"))
    ended = target.sql("grpc+tls", "-c", "SELECT 1")
    expect(ended.returncode, 2)
    expect_in("certificate", ended.stderr)


@check
def plain_bytes_after_the_request(target):
    """bytes in plain behind the request for encryption end the connection"""
    with socket.create_connection(("localhost", target.pg_port), timeout=20) as stream:
        stream.sendall(SSL_REQUEST + STARTUP)
        expect(stream.recv(1), b"S")
        rest = b""
        while chunk := stream.recv(4096):
            rest += chunk
        # An error in plain, or nothing: no authentication in any case.
        assert not rest.startswith(b"R"), rest
    expect(rest[:1] in (b"", b"E"), True)


@check
def a_second_request(target):
    """encryption is asked for once"""
    with socket.create_connection(("localhost", target.pg_port), timeout=20) as stream:
        stream.sendall(SSL_REQUEST)
        expect(stream.recv(1), b"S")
        with target.context().wrap_socket(stream, server_hostname="localhost") as encrypted:
            encrypted.sendall(SSL_REQUEST)
            expect(encrypted.recv(1), b"E")


@check
def encrypted_from_the_first_byte(target):
    """clients may begin with the handshake, as libpq does with sslnegotiation=direct"""
    context = target.context()
    context.set_alpn_protocols(["postgresql"])
    with socket.create_connection(("localhost", target.pg_port), timeout=20) as stream:
        with context.wrap_socket(stream, server_hostname="localhost") as encrypted:
            expect(encrypted.selected_alpn_protocol(), "postgresql")
            encrypted.sendall(STARTUP)
            expect(encrypted.recv(1), b"R")


@check
def half_open_handshakes(target):
    """clients that stop in their handshake do not keep others out"""
    idle = [socket.create_connection(("localhost", port), timeout=20) for port in (target.pg_port, target.flight_port) * 20]
    for stream in idle[::2]:
        stream.sendall(b"\x16\x03\x01")
    connection = target.postgres(sslmode="require")
    connection.close()
    with target.flight() as flight, flight.cursor() as cursor:
        cursor.execute("SELECT 1")
        expect(cursor.fetchall(), [(1,)])
    for stream in idle:
        stream.close()


@check
def flight_is_encrypted(target):
    """ADBC over grpc+tls reads results, from the compute nodes too"""
    with target.flight() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n, s FROM tls_t")
        table = cursor.fetch_arrow_table()
        expect((table.num_rows, sum(table["n"].to_pylist())), (3000, 2999 * 1500))


@check
def the_own_client(target):
    """slipher sql speaks grpc+tls"""
    ended = target.sql("grpc+tls", "--tls-roots", target.root, "--format", "csv", "-c", "SELECT n FROM tls_t WHERE n < 3 ORDER BY n")
    expect((ended.stdout, ended.stderr, ended.returncode), ("n\n0\n1\n2\n", "", 0))
    ended = target.sql("grpc+tls", "--tls-roots", target.root, "--format", "csv", "-c", "SELECT n FROM tls_t")
    expect((len(ended.stdout.splitlines()), ended.returncode), (3001, 0))
    ended = target.sql("grpc+tls", "--tls-roots", "/nonexistent.pem", "-c", "SELECT 1")
    expect(ended.returncode, 2)
    expect_in("nonexistent.pem", ended.stderr)


@check
def http_is_encrypted(target):
    """HTTPS answers"""
    connection = http.client.HTTPSConnection("localhost", target.http_port, timeout=20, context=target.context())
    credentials = base64.b64encode(f"admin:{target.password}".encode()).decode()
    body = '{"sql": "SELECT count(*) AS n FROM tls_t", "wait_seconds": 20}'
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/statements", body=body, headers=headers)
    expect(connection.getresponse().status, 202)


@check
def plain_connections(target):
    """plain connections are refused where encryption is required, and work where not"""
    http_plain = http.client.HTTPConnection("localhost", target.http_port, timeout=20)
    http_plain.request("GET", "/healthz")
    answer = http_plain.getresponse()
    if target.required:
        expect_in("encrypted connections only", raises(psycopg2.OperationalError, lambda: target.postgres(sslmode="disable")))
        expect((answer.status, answer.read()), (400, b"this port takes encrypted requests: https\n"))
        ended = target.sql("grpc", "-c", "SELECT 1")
        expect(ended.returncode, 2)
        raises(adbc_driver_manager.Error, lambda: target.flight("grpc").cursor().execute("SELECT 1"))
    else:
        expect(target.postgres(sslmode="disable").info.ssl_in_use, False)
        expect(answer.status, 200)
        # The compute nodes' addresses are encrypted ones: the leader passes their rows on.
        ended = target.sql("grpc", "--format", "csv", "-c", "SELECT n FROM tls_t")
        expect((len(ended.stdout.splitlines()), ended.returncode), (3001, 0))


if __name__ == "__main__":
    if len(sys.argv) != 8:
        sys.exit(__doc__)
    sys.exit(run(Target(*sys.argv[1:])))
