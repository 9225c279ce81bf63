"""Runs deploy/docker-compose.yml for real: builds the image around a given binary, starts, loads, scales, restarts, stops.

    python compose.py SLIPHER-BINARY [--install] [--base TAR] [--compose COMMAND]

    --install   installs Docker, Compose and debootstrap with apt-get where they are missing
    --base      a root file system (tar) for the image, instead of one made with debootstrap
    --compose   the Compose command, instead of `docker compose` or `docker-compose`

No image is pulled and only loopback ports are opened. Where no Docker daemon answers, one is started for this test, with
its data in a temporary directory (that takes root). Prints one line for each check and `N passed, M failed`; the exit code
is 0 only when none failed. Everything that was started is removed at the end, also after a failure.
"""

import argparse
import contextlib
import json
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"docker": "docker.io", "dockerd": "docker.io", "debootstrap": "debootstrap"}
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
USER = "10001"
HEALTHY_MAX_SECONDS = 120
ANSWER_MAX_SECONDS = 30
DAEMON_MAX_SECONDS = 60
# Rows of the tables: every order has four lines, and each order's number is copied once.
LINES = 200_000
ORDERS = LINES // 4
# A daemon that changes nothing on the machine: no bridge of its own, no packet filter, no forwarding. Published ports go
# through its proxy. The second try is for file systems that overlayfs cannot lie on.
DAEMON_FLAGS = ["--bridge=none", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"]
STORAGE_FLAGS = [[], ["--storage-driver=vfs"]]
CHECKS = []


def check(function):
    """Registers a check; its docstring is its name. What it returns is printed below."""
    CHECKS.append(function)
    return function


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r} is not {wanted!r}")


def eventually(function, seconds):
    """What `function` returns, as soon as it does not fail."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return function()
        except (AssertionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def run(arguments, environment=None, standard_input=None, both=False):
    """Standard output of a command that must succeed; with `both`, standard error after it."""
    done = subprocess.run(
        [str(one) for one in arguments],
        env=environment,
        stdin=subprocess.DEVNULL if standard_input is None else None,
        input=standard_input,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if both else "")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def filter_flags():
    """Another daemon may have left a packet filter that drops what goes from container to container: then rules are needed."""
    forward = subprocess.run(["iptables", "--list-rules", "FORWARD"], capture_output=True, text=True).stdout
    return [] if "-P FORWARD DROP" in forward else ["--iptables=false"]


class Daemon:
    """A Docker daemon of this test's own."""

    def __init__(self, directory):
        self.directory = directory
        self.process = None
        self.host = f"unix://{directory}/docker.sock"

    def start(self):
        expect(os.geteuid() == 0, "no Docker daemon answers, and only root can start one")
        for flags in STORAGE_FLAGS:
            if self.try_start([*DAEMON_FLAGS, *filter_flags(), *flags]):
                return
        raise RuntimeError(f"dockerd does not start:\n{self.log()}")

    def log(self):
        return "\n".join((self.directory / "dockerd.log").read_text().splitlines()[-30:])

    def try_start(self, flags):
        own = [f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec", f"--host={self.host}"]
        own += [f"--pidfile={self.directory}/docker.pid"]
        with open(self.directory / "dockerd.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(["dockerd", *own, *flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + DAEMON_MAX_SECONDS
        environment = {**os.environ, "DOCKER_HOST": self.host}
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run(["docker", "info"], env=environment, capture_output=True).returncode == 0:
                print(f"        dockerd {' '.join(flags)}")
                return True
            time.sleep(0.5)
        self.stop()
        return False

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        # What a killed daemon left mounted would be in the way of removing its directory.
        for line in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)


class Target:
    """The image, the project and how to reach it."""

    def __init__(self, arguments, directory):
        self.binary = pathlib.Path(arguments.binary).resolve()
        self.directory = directory
        self.name = f"slipher-test-{secrets.token_hex(4)}"
        self.base, self.image, self.source_image = f"{self.name}-base", self.name, f"{self.name}-source"
        self.password = secrets.token_hex(12)
        self.given_base, self.given_compose = arguments.base, arguments.compose
        self.daemon = None
        self.environment = dict(os.environ)
        self.ports = {name: free_port() for name in ("PG", "FLIGHT", "HTTP")}
        self.load = directory / "load"
        self.node_ids = {}
        self.expected = None

    # Setting up

    def connect(self):
        """A daemon that answers, the Compose command, and what the Compose file reads."""
        if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
            place = self.directory / "docker"
            place.mkdir()
            self.daemon = Daemon(place)
            self.environment["DOCKER_HOST"] = self.daemon.host
            self.daemon.start()
        self.compose_command = self.find_compose()
        self.load.mkdir()
        # The container's user reads them.
        self.load.chmod(0o755)
        password_file = self.directory / "admin-password"
        password_file.write_text(self.password + "\n")
        password_file.chmod(0o644)
        self.environment |= {f"SLIPHER_{name}_PORT": str(port) for name, port in self.ports.items()}
        self.environment |= {
            "SLIPHER_IMAGE": self.image,
            "SLIPHER_ADMIN_PASSWORD_FILE": str(password_file),
            "SLIPHER_LOAD_DIR": str(self.load),
            "COMPOSE_PROJECT_NAME": self.name,
        }
        self.environment.pop("SLIPHER_ADMIN_PASSWORD", None)

    def find_compose(self):
        if self.given_compose:
            return shlex.split(self.given_compose)
        for command in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
                return command
        raise RuntimeError("neither `docker compose` nor `docker-compose` is installed; --install does it")

    def make_base(self):
        tar = self.given_base
        if tar is None:
            root = self.directory / "root"
            run(["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, MIRROR])
            tar = self.directory / "root.tar"
            run(["tar", "--directory", root, "--create", "--file", tar, "--exclude=./var/cache/apt/*", "."])
            shutil.rmtree(root)
        self.docker("import", tar, self.base)

    # Commands

    def docker(self, *arguments, **options):
        return run(["docker", *arguments], environment=self.environment, **options)

    def compose(self, *arguments, **options):
        file = ROOT / "deploy/docker-compose.yml"
        return run([*self.compose_command, "-f", file, *arguments], environment=self.environment, **options)

    def build(self, context, stage, tag, rust_image=None):
        # The base has all that is needed, and the daemon no bridge.
        arguments = ["--network", "none", "--build-arg", f"BASE_IMAGE={self.base}"]
        if rust_image:
            arguments += ["--build-arg", f"RUST_IMAGE={rust_image}"]
        self.docker("build", "-f", context / "deploy/Dockerfile", "--target", stage, "-t", tag, *arguments, context)

    def sql(self, *statements, password=None):
        """Rows of the last statement, as lists of texts."""
        arguments = [self.binary, "sql", "--url", f"grpc://admin@127.0.0.1:{self.ports['FLIGHT']}/dev", "--format", "csv"]
        arguments += [part for statement in statements[:-1] for part in ("-c", statement)]
        environment = {**os.environ, "SLIPHER_PASSWORD": password or self.password}
        if len(statements) > 1:
            run(arguments, environment=environment)
        answer = run([*arguments[:6], "-c", statements[-1]], environment=environment)
        return [line.split(",") for line in answer.splitlines()[1:]]

    # What is there

    def up(self, *arguments, compute=3):
        self.compose("up", "-d", "--no-build", *arguments)
        self.wait_healthy(compute)

    def containers(self):
        """Name of the service and number → what `docker inspect` says."""
        ids = self.docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}").split()
        found = {}
        for one in json.loads(self.docker("inspect", *ids)) if ids else []:
            labels = one["Config"]["Labels"]
            found[labels["com.docker.compose.service"], int(labels["com.docker.compose.container-number"])] = one
        return dict(sorted(found.items()))

    def wait_healthy(self, compute):
        wanted = {("leader", 1)} | {("compute", number) for number in range(1, compute + 1)}

        def healthy():
            states = {key: one["State"].get("Health", {}).get("Status") for key, one in self.containers().items()}
            expect_equal(states, dict.fromkeys(sorted(wanted), "healthy"), "states")

        eventually(healthy, HEALTHY_MAX_SECONDS)

    def in_volume(self, script):
        """Runs a shell script in the directory of all compute nodes, as their user."""
        volume = f"{self.name}_compute-data:/nodes:ro"
        return self.docker("run", "--rm", "-v", volume, "--workdir", "/nodes", "--entrypoint", "sh", self.image, "-c", script)

    def nodes(self):
        """Number of each node directory → (id of the node, number of its segment files)."""
        script = 'for n in node-*; do echo "${n#node-} $(cat $n/node.id) $(find $n/segments -type f | wc -l)"; done'
        lines = [line.split() for line in self.in_volume(script).splitlines()]
        return {int(number): (node_id, int(segments)) for number, node_id, segments in lines}

    def expect_nodes(self, count):
        """Each directory still is the node it was, and there is none beside them."""
        ids = {number: node_id for number, (node_id, _) in self.nodes().items()}
        expect_equal(sorted(ids), list(range(1, count + 1)), "directories")
        for number, node_id in self.node_ids.items():
            expect_equal(ids[number], node_id, f"the node of directory {number}")
        self.node_ids = ids

    def data(self):
        return self.sql("SELECT (SELECT count(*) FROM lines), (SELECT sum(k) FROM lines), (SELECT sum(n) FROM orders)")

    def expect_data(self):
        expect_equal(self.data(), self.expected, "the data")

    # Taking down

    def clean(self):
        """Removes what this test made; answers what went wrong."""
        errors = []
        steps = [lambda: self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")]
        images = (self.image, self.source_image, f"{self.name}-cargo", self.base)
        steps += [lambda one=one: self.docker("image", "rm", "--force", one) for one in images]
        for step in steps if "SLIPHER_IMAGE" in self.environment else []:
            try:
                step()
            except RuntimeError as error:
                # An image that was never built is no error.
                if "No such image" not in str(error):
                    errors.append(str(error))
        if self.daemon:
            self.daemon.stop()
        return errors


@check
def prebuilt_image(target):
    """the image with a given binary runs it, as a user without rights"""
    context = target.directory / "prebuilt"
    (context / "target/release").mkdir(parents=True)
    shutil.copytree(ROOT / "deploy", context / "deploy", ignore=shutil.ignore_patterns("load", ".env"))
    shutil.copy(target.binary, context / "target/release/slipher")
    (context / "target/release/slipher").chmod(0o755)
    target.make_base()
    target.build(context, "prebuilt", target.image)
    shutil.rmtree(context)
    version = run([target.binary, "--version"])
    expect_equal(target.docker("run", "--rm", target.image, "--version"), version, "the version")
    script = "id -u; id -g; [ -w / ] || echo root is not writable; [ -w . ] && echo data is writable"
    said = target.docker("run", "--rm", "--entrypoint", "sh", target.image, "-c", script).splitlines()
    expect_equal(said, [USER, USER, "root is not writable", "data is writable"], "the user")
    size = int(target.docker("image", "inspect", "--format", "{{.Size}}", target.image)) >> 20
    base = int(target.docker("image", "inspect", "--format", "{{.Size}}", target.base)) >> 20
    return f"{version.strip()}: {size} MiB, {base} of them the base"


@check
def source_image(target):
    """the image from source copies what cargo makes (cargo itself is replaced: compiling takes too long here)"""
    tools = target.directory / "tools"
    tools.mkdir()
    wanted = "build --locked --release --bin slipher"
    members = "Cargo.toml Cargo.lock src/main.rs proto/Cargo.toml common/Cargo.toml compute/Cargo.toml leader/Cargo.toml"
    (tools / "cargo").write_text(
        f'#!/bin/sh\nset -e\n[ "$*" = "{wanted}" ] || exit 64\nfor file in {members}; do [ -f "$file" ]; done\n'
        "mkdir -p target/release\nprintf '#!/bin/sh\\necho made by cargo\\n' > target/release/slipher\n"
        "chmod 755 target/release/slipher\n"
    )
    (tools / "cargo").chmod(0o755)
    (tools / "Dockerfile").write_text(f"FROM {target.base}\nCOPY cargo /usr/local/bin/cargo\n")
    target.docker("build", "-t", f"{target.name}-cargo", tools)
    context = target.directory / "source"
    for name in run(["git", "-C", ROOT, "ls-files", "-z"]).split("\0"):
        if name and (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    # Docker without BuildKit also runs the stage before, which copies this.
    (context / "target/release").mkdir(parents=True)
    (context / "target/release/slipher").write_text("#!/bin/sh\necho prebuilt\n")
    target.build(context, "source", target.source_image, rust_image=f"{target.name}-cargo")
    shutil.rmtree(context)
    expect_equal(target.docker("run", "--rm", target.source_image, "--version"), "made by cargo\n", "what runs")


@check
def generated_password(target):
    """without a password the leader makes one, logs it, and is healthy; an unnumbered compute node is refused"""
    leader = target.docker("run", "--detach", target.image, "leader").strip()
    try:
        eventually(lambda: target.docker("exec", leader, "slipher-container", "health", "leader"), ANSWER_MAX_SECONDS)
        made = target.docker("exec", leader, "cat", "leader/admin-password").strip()
        expect(len(made) >= 12, "a password of twelve characters at least")
        expect(f"admin:{made}@" in target.docker("logs", leader, both=True), "the log does not tell the password")
    finally:
        target.docker("rm", "--force", "--volumes", leader)
    # Without a network there is nobody who could tell its number.
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", target.image, "compute"],
        env=target.environment,
        capture_output=True,
        text=True,
    )
    expect(done.returncode == 1 and "set SLIPHER_NODE" in done.stderr, f"{done.returncode}: {done.stderr}")


@check
def start(target):
    """Compose starts a leader and three compute nodes, and all become healthy"""
    began = time.monotonic()
    target.up()
    target.expect_nodes(3)
    return f"healthy after {time.monotonic() - began:.0f} s, with {' '.join(target.compose_command)}"


@check
def rights(target):
    """containers run without rights on a root they cannot write to, and publish on loopback only"""
    for key, one in target.containers().items():
        host = one["HostConfig"]
        expect_equal((host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]), (True, ["ALL"], False), f"{key}")
        status = target.docker("exec", one["Id"], "cat", "/proc/1/status")
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        expect_equal(lines["Uid"].split(), [USER] * 4, f"{key}: user")
        expect_equal(int(lines["CapEff"], 16), 0, f"{key}: capabilities")
        expect_equal(lines["NoNewPrivs"], "1", f"{key}: new privileges")
        expect_equal(lines["Name"], "slipher", f"{key}: process 1 gets the signals")
        bindings = [binding for port in (one["NetworkSettings"]["Ports"] or {}).values() for binding in port or []]
        expect_equal({binding["HostIp"] for binding in bindings}, {"127.0.0.1"} if key[0] == "leader" else set(), f"{key}")


@check
def password(target):
    """a wrong password is refused, and the given one is in no log and no container's settings"""
    try:
        target.sql("SELECT 1", password="certainly wrong")
        raise AssertionError("a wrong password is taken")
    except RuntimeError as error:
        expect("28P01" in str(error) or "password" in str(error), str(error))
    expect(target.password not in target.compose("logs", "--no-color", both=True), "the password is in a log")
    for key, one in target.containers().items():
        expect(target.password not in json.dumps(one), f"the password is in the settings of {key}")


@check
def load(target):
    """a table with a DISTKEY takes COPY and INSERT, lies on all nodes, and joins without the network"""
    modes = ("AIR", "MAIL", "SHIP", "TRUCK")
    (target.load / "lines.csv").write_text("".join(f"{n // 4},{modes[n % 4]}\n" for n in range(LINES)))
    (target.load / "orders.csv").write_text("".join(f"{n},{n * n}\n" for n in range(ORDERS)))
    rows = target.sql(
        "CREATE TABLE lines (k BIGINT, mode VARCHAR(20)) DISTKEY(k) SORTKEY(k)",
        "COPY lines FROM 'lines.csv' CSV",
        "CREATE TABLE staged (k BIGINT, n BIGINT) DISTSTYLE EVEN",
        "COPY staged FROM 'orders.csv' CSV",
        "CREATE TABLE orders (k BIGINT, n BIGINT) DISTKEY(k) SORTKEY(k)",
        "INSERT INTO orders SELECT k, n FROM staged",
        "SELECT (SELECT count(*) FROM lines), count(*), sum(n) FROM orders",
    )
    expect_equal(rows, [[str(LINES), str(ORDERS), str(sum(n * n for n in range(ORDERS)))]], "rows")
    segments = {number: count for number, (_, count) in target.nodes().items()}
    expect(all(segments.values()), f"a node without segments: {segments}")
    plan = "\n".join(map(",".join, target.sql("EXPLAIN SELECT count(*) FROM lines JOIN orders ON lines.k = orders.k")))
    expect("DS_DIST_NONE" in plan, plan)
    target.expected = target.data()
    return f"segments of each node: {segments}"


@check
def large_result(target):
    """a Flight SQL client outside, which reaches no compute node, gets a result of many rows"""
    expect_equal(sum(int(row[0]) for row in target.sql("SELECT k FROM lines")), 4 * sum(range(ORDERS)), "sum of all rows")


@check
def psql(target):
    """psql gets the same answer"""
    if shutil.which("psql") is None:
        return "skipped: psql is not installed"
    url = f"postgresql://admin@127.0.0.1:{target.ports['PG']}/dev"
    answer = run(["psql", url, "-At", "-c", "SELECT count(*) FROM lines"], {**os.environ, "PGPASSWORD": target.password})
    expect_equal(answer, f"{LINES}\n", "rows")


@check
def scale_up(target):
    """a fourth compute node joins: slices move to it, new data comes to it, and the cluster answers as before"""
    target.up("--no-recreate", "--scale", "compute=4", compute=4)
    target.expect_nodes(4)
    target.expect_data()
    eventually(lambda: expect(target.nodes()[4][1] > 0, "no segment moved to the new node"), ANSWER_MAX_SECONDS)
    before = target.nodes()[4][1]
    target.sql("CREATE TABLE everywhere (k BIGINT) DISTSTYLE ALL", "INSERT INTO everywhere VALUES (1), (2), (3)")
    copies = target.nodes()[4][1] - before
    expect(copies > 0, "no copy of an ALL table on the new node")
    expect_equal(target.sql("SELECT count(*) FROM lines JOIN everywhere ON lines.k = everywhere.k"), [["12"]], "a join")
    before = target.nodes()[4][1]
    target.sql("CREATE TABLE later (k BIGINT) DISTKEY(k)", "INSERT INTO later SELECT k FROM lines")
    later = target.nodes()[4][1] - before
    expect_equal(target.sql("SELECT count(*) FROM later"), [[str(LINES)]], "rows loaded later")
    expect(later > 0, "nothing of a table that was loaded later is on the new node")
    return f"the new node has {before} segments of what was there or is an ALL table, and {later} of a table that was loaded later"


@check
def restart_each(target):
    """each container is stopped and started, one after the other: replicas answer, and all data is there afterwards"""
    slowest, answers = 0.0, []
    for (service, number), one in target.containers().items():
        began = time.monotonic()
        target.docker("stop", one["Id"])
        slowest = max(slowest, time.monotonic() - began)
        ended = target.containers()[service, number]["State"]
        expect_equal(ended["ExitCode"], 0, f"{service} {number}: exit code after SIGTERM")
        if service == "compute":
            began = time.monotonic()
            eventually(target.expect_data, ANSWER_MAX_SECONDS)
            answers.append(f"{time.monotonic() - began:.1f}")
        target.docker("start", one["Id"])
        target.wait_healthy(4)
        eventually(target.expect_data, ANSWER_MAX_SECONDS)
    target.expect_nodes(4)
    return f"each ended {slowest:.1f} s after SIGTERM at most; without each compute node answers took {', '.join(answers)} s"


@check
def kill(target):
    """a killed leader and a killed compute node come back by themselves"""
    if target.daemon is None:
        return "skipped: only with a daemon of this test's own, whose processes it may kill"
    for key in (("compute", 2), ("leader", 1)):
        pid = target.containers()[key]["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)

        def back(key=key, pid=pid):
            state = target.containers()[key]["State"]
            expect(state["Running"] and state["Pid"] not in (0, pid), f"{key} is not back")

        eventually(back, ANSWER_MAX_SECONDS)
        target.wait_healthy(4)
        eventually(target.expect_data, ANSWER_MAX_SECONDS)
    return None


@check
def recreate(target):
    """recreated containers find their directories again by their numbers"""
    before = {key: one["Id"] for key, one in target.containers().items()}
    target.up("--force-recreate", "--scale", "compute=4", compute=4)
    after = {key: one["Id"] for key, one in target.containers().items()}
    expect(all(after[key] != before[key] for key in before), "a container was not recreated")
    target.expect_nodes(4)
    eventually(target.expect_data, ANSWER_MAX_SECONDS)


@check
def scale_down(target):
    """without the fourth node everything is still answered, and it may come back"""
    target.up("--no-recreate", "--scale", "compute=3")
    eventually(target.expect_data, ANSWER_MAX_SECONDS)
    expect_equal(target.sql("SELECT count(*) FROM later"), [[str(LINES)]], "rows loaded with four nodes")
    target.up("--no-recreate", "--scale", "compute=4", compute=4)
    target.expect_nodes(4)
    eventually(target.expect_data, ANSWER_MAX_SECONDS)


@check
def down_and_up(target):
    """`down` keeps the volumes, and `up` serves them"""
    target.compose("down")
    expect_equal(target.containers(), {}, "containers")
    target.up("--scale", "compute=4", compute=4)
    target.expect_nodes(4)
    eventually(target.expect_data, ANSWER_MAX_SECONDS)


@check
def down_for_good(target):
    """`down -v` leaves nothing"""
    target.compose("down", "--volumes")
    mine = f"label=com.docker.compose.project={target.name}"
    for what in (["ps", "--all", "--quiet"], ["volume", "ls", "--quiet"], ["network", "ls", "--quiet"]):
        expect_equal(target.docker(*what, "--filter", mine), "", f"docker {what[0]}")


def install():
    missing = {package for command, package in PACKAGES.items() if shutil.which(command) is None}
    compose = [["docker", "compose", "version"], ["docker-compose", "version"]]
    if not any(shutil.which(one[0]) and subprocess.run(one, capture_output=True).returncode == 0 for one in compose):
        missing.add("docker-compose")
    if missing:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update"], environment)
        run(["apt-get", "install", "-y", "--no-install-recommends", *sorted(missing), "iptables"], environment)


def show_containers(target):
    """After a failure: what the containers said last."""
    with contextlib.suppress(RuntimeError, json.JSONDecodeError):
        for key, one in target.containers().items():
            state = one["State"]
            print(f"--- {key}: {state['Status']}, health {state.get('Health', {}).get('Status')}")
            print("\n".join(target.docker("logs", "--tail", "20", one["Id"], both=True).splitlines()))


def run_checks(target):
    """How many checks passed; the first that fails ends the run, since the later ones build on it."""
    target.connect()
    for done, function in enumerate(CHECKS):
        began = time.monotonic()
        try:
            note = function(target)
        except Exception:
            print(f"FAILED  {function.__doc__}")
            traceback.print_exc(file=sys.stdout)
            show_containers(target)
            return done
        print(f"ok      {function.__doc__} ({time.monotonic() - began:.0f} s)")
        if note:
            print(f"        {note}")
    return len(CHECKS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--base")
    parser.add_argument("--compose")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    # A stopped test cleans up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.install:
        install()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="slipher-compose-") as directory:
        target = Target(arguments, pathlib.Path(directory))
        passed = 0
        try:
            passed = run_checks(target)
        except (AssertionError, RuntimeError) as error:
            print(f"FAILED  setting up: {error}")
            failed = 1
        finally:
            for error in target.clean():
                print(f"FAILED  cleaning up: {error}")
                failed += 1
    failed += passed < len(CHECKS) and not failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
