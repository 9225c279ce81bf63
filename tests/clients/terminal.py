"""`slipher sql` on a terminal: editing, completion, history, progress, Ctrl-C.

    python terminal.py FLIGHT_PORT PASSWORD SLIPHER

Prints one line for each check and `N passed, M failed`; the exit code is 0 only when none failed.
"""

import fcntl
import os
import pathlib
import pty
import re
import select
import stat
import subprocess
import sys
import tempfile
import termios
import time

from checks import check, expect, expect_in, run

PROMPT = "dev=> "
# What moves the cursor, colours or clears.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


class Terminal:
    """One run of `slipher sql` on a pseudo-terminal."""

    def __init__(self, target):
        self.master, slave = pty.openpty()
        url = f"grpc://admin@127.0.0.1:{target.port}/dev"
        environment = {**os.environ, "TERM": "xterm", "SLIPHER_PASSWORD": target.password, "SLIPHER_HISTORY": str(target.history)}
        self.process = subprocess.Popen(
            [target.slipher, "sql", "--url", url], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""
        self.wait_for(PROMPT)

    def send(self, keys):
        self.text = ""
        os.write(self.master, keys.encode())

    def wait_for(self, part, seconds=30):
        """Reads until `part` has come; answers everything since the last keys."""
        end = time.monotonic() + seconds
        while part not in ESCAPES.sub("", self.text):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{part!r} does not come; there is {self.text!r}"
            self.text += os.read(self.master, 65536).decode(errors="replace")
        return ESCAPES.sub("", self.text)

    def close(self):
        self.send("\\q\r")
        code = self.process.wait(timeout=20)
        os.close(self.master)
        return code


class Target:
    def __init__(self, port, password, slipher):
        self.port, self.password, self.slipher = port, password, slipher
        self.history = pathlib.Path(tempfile.mkdtemp()) / "history"


@check
def statements(target):
    """statements of one line and of several are answered"""
    terminal = Terminal(target)
    terminal.send("create table terminal_rows (number bigint);\r")
    terminal.wait_for("CREATE TABLE")
    terminal.send("insert into terminal_rows\rvalues (1),\r(41);\r")
    terminal.wait_for("INSERT 0 2")
    terminal.send("select sum(number)\r as total from terminal_rows;\r")
    expect_in("42", terminal.wait_for("1 row"))
    terminal.send("selct 1;\r")
    terminal.wait_for("42601")
    expect(terminal.close(), 0)


@check
def completion(target):
    """Tab completes keywords, tables and columns"""
    terminal = Terminal(target)
    terminal.send("sel\t")
    terminal.wait_for("select")
    terminal.send(" max(numb\t")
    terminal.wait_for("number")
    terminal.send(") from terminal_r\t;\r")
    expect_in("41", terminal.wait_for("1 row"))
    terminal.send("\\tim\t\r")
    terminal.wait_for("Timing is on.")
    expect(terminal.close(), 0)


@check
def history(target):
    """the last statement comes back, also in the next session; passwords are not kept"""
    terminal = Terminal(target)
    terminal.send("select 'wanted' || '-again';\r")
    terminal.wait_for("1 row")
    terminal.send("create user terminal_user password 'Never-kept-1';\r")
    terminal.wait_for("CREATE USER")
    expect(terminal.close(), 0)
    terminal = Terminal(target)
    # The command \q, then the statement before it.
    terminal.send("\x1b[A\x1b[A\r")
    terminal.wait_for("wanted-again")
    terminal.wait_for("1 row")
    expect(terminal.close(), 0)
    expect("Never-kept-1" in target.history.read_text(), False)
    expect(stat.S_IMODE(target.history.stat().st_mode), 0o600)


@check
def cancelling(target):
    """a long statement shows how far it is, and Ctrl-C ends it"""
    terminal = Terminal(target)
    for doubled in range(10):
        terminal.send("insert into terminal_rows select number from terminal_rows;\r")
        terminal.wait_for(f"INSERT 0 {2 ** (doubled + 1)}")
    terminal.send("select count(*) from terminal_rows a, terminal_rows b, terminal_rows c where a.number + b.number + c.number < 0;\r")
    terminal.wait_for("tasks done")
    terminal.send("\x03")
    terminal.wait_for("57014")
    terminal.send("select 'still' || '-here';\r")
    terminal.wait_for("still-here")
    expect(terminal.close(), 0)


@check
def leaving(target):
    """Ctrl-C forgets what was typed, Ctrl-D leaves"""
    terminal = Terminal(target)
    terminal.send("select 1 +\x03")
    terminal.wait_for(PROMPT)
    terminal.send("\x04")
    expect(terminal.process.wait(timeout=20), 0)
    os.close(terminal.master)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(run(Target(*sys.argv[1:])))
