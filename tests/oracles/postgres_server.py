"""A PostgreSQL of our own: a fresh cluster in a temporary directory, on a free loopback port, as a user that is not root."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

import psycopg2

USER = "oracle"
START_MAX_SECONDS = 60


def programs():
    """The directory of initdb and postgres; None where PostgreSQL is not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which("initdb")
    return os.path.dirname(path) if path else None


def install():
    """Installs Debian's package where this process may; whether PostgreSQL is there then."""
    if programs():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
        subprocess.run(["apt-get", "-q", *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return programs() is not None


class PostgresServer:
    """Runs as long as the `with` block."""

    def __init__(self):
        self.process = None

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="slipher-oracle-postgres-")
        self.port = free_port()
        account = self.account()
        if account:
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        bin, data = programs(), os.path.join(self.directory, "data")
        initdb = [f"{bin}/initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=self.directory, **self.as_account(account))
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
                   "timezone": "UTC", "datestyle": "ISO, MDY", "max_connections": 20, "jit": "off", "shared_buffers": "32MB"}
        command = [f"{bin}/postgres", "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        log = open(os.path.join(self.directory, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, **self.as_account(account))
        self.wait()
        return self

    def wait(self):
        deadline = time.monotonic() + START_MAX_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres", connect_timeout=5).close()
                return
            except psycopg2.OperationalError:
                time.sleep(0.1)
        with open(os.path.join(self.directory, "log"), encoding="utf-8") as log:
            raise RuntimeError(f"PostgreSQL did not start: {log.read()}")

    @staticmethod
    def account():
        """Who runs it: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise RuntimeError("no user to run PostgreSQL as")

    @staticmethod
    def as_account(account):
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
