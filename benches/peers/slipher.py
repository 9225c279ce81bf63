"""Slipher: `slipher local` with 1, 2 or 4 compute nodes, and a leader with compute nodes as processes of their own."""

import re
import signal
import subprocess
import threading

import psycopg2

from common import PASSWORD, ddl
from system import Base

STOP_SECONDS = 20
CHAR_OID = 1042


class Process:
    """A running slipher command; `ports` are those it printed by the time it is ready."""

    def __init__(self, binary, arguments, ready, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ports = {}
        for line in self.process.stdout:
            self.note_port(line)
            if ready in line:
                break
        else:
            raise RuntimeError(f"slipher {arguments[0]} ended with {self.process.wait()}; see {log}")
        # A full pipe would stop the server.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def note_port(self, line):
        for name, pattern in [("pg", r"postgresql://\S+:(\d+)/"), ("flight", r"grpc://\S+:(\d+)"), ("internal", r"--leader \S+:(\d+)")]:
            found = re.search(pattern, line)
            if found:
                self.ports[name] = int(found.group(1))

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def server_arguments(data, parquet):
    ports = ["--pg-port", "0", "--flight-port", "0", "--internal-port", "0", "--http-port", "0"]
    return ["--data-dir", str(data), "--load-dir", str(parquet), "--replication-factor", "1", "--admin-password", PASSWORD, *ports]


def start_local(binary, work, parquet, nodes):
    arguments = ["local", "--compute-nodes", str(nodes), *server_arguments(work / "data", parquet)]
    return Process(binary, arguments, "Flight SQL", work / "slipher.log")


def start_cluster(binary, work, parquet, nodes):
    """A leader and compute nodes; the leader is first in the list."""
    leader = Process(binary, ["leader", *server_arguments(work / "leader", parquet)], "Compute nodes join", work / "leader.log")
    started = [leader]
    for index in range(1, nodes + 1):
        join = ["--leader", f"127.0.0.1:{leader.ports['internal']}", "--listen", "127.0.0.1:0", "--flight-listen", "127.0.0.1:0"]
        arguments = ["compute", "--data-dir", str(work / f"node-{index}"), *join]
        started.append(Process(binary, arguments, "", work / f"node-{index}.log"))
    return started


def connect(port):
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="admin", password=PASSWORD, dbname="dev", connect_timeout=30)
    connection.autocommit = True
    return connection


def without_blanks(row, padded):
    """The blanks that fill CHAR(n) are not part of its value; the other systems keep such columns as plain text."""
    return [value.rstrip(" ") if index in padded and value else value for index, value in enumerate(row)]


def load_table(cursor, table):
    cursor.execute(ddl(table))
    cursor.execute(f"COPY {table} FROM '{table}' FORMAT AS PARQUET")


class System(Base):
    notes = "`slipher local`, one copy of each slice, defaults; client psycopg2; the blanks that fill CHAR(n) are taken off in the client"
    server = None

    def start(self):
        nodes = int(self.job["system"].removeprefix("slipher"))
        self.server = start_local(self.job["slipher"], self.work, self.parquet, nodes)
        self.cursor = connect(self.server.ports["pg"]).cursor()

    def load(self, table):
        load_table(self.cursor, table)

    def query(self, sql):
        self.cursor.execute(sql)
        rows = self.cursor.fetchall()
        padded = [index for index, column in enumerate(self.cursor.description) if column.type_code == CHAR_OID]
        return [without_blanks(row, padded) for row in rows] if padded else rows

    def version(self):
        output = subprocess.run([self.job["slipher"], "--version"], capture_output=True, text=True, check=True)
        return output.stdout.split()[-1]

    def pids(self):
        return [self.server.pid]

    def stop(self):
        if self.server:
            self.server.stop()
