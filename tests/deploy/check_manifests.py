"""Checks deploy/ without running it: image recipe, Compose file, Kubernetes manifests.

    pip install pyyaml kubernetes-validate
    python check_manifests.py [SLIPHER-BINARY]

With a binary, every SLIPHER_* variable that is set anywhere must be one of its own. Where `kubectl` or `kustomize` is
installed, its answer is compared with the one computed here; where a Compose command is installed, it reads the file, too.
Prints one line for each check and `N passed, M failed`; the exit code is 0 only when none failed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import traceback

import kubernetes_validate
import yaml
from kustomize import resolve

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZATIONS = {
    "base": DEPLOY / "kubernetes/base",
    "single-node": DEPLOY / "kubernetes/overlays/single-node",
}
# The oldest release that is still in use widely, and what the package knows as the newest.
KUBERNETES_VERSIONS = ["1.29", kubernetes_validate.latest_version()]
PORTS = {"postgres": 5439, "flight-sql": 5440, "http": 5480, "nodes": 5441, "node": 5451, "results": 5452}
USER = 10001
# Variables of the script that starts the container, not of slipher.
SCRIPT_VARIABLES = {"SLIPHER_ADMIN_PASSWORD_FILE", "SLIPHER_NODE", "SLIPHER_DATA_ROOT"}
# Variables that slipher's --help does not list.
LOG_VARIABLES = {"SLIPHER_LOG", "SLIPHER_LOG_FORMAT"}
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


def of_kind(objects, kind):
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def each_kustomization():
    for name, directory in KUSTOMIZATIONS.items():
        yield name, resolve(directory)


def selects(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def substituted(value, environment):
    """Compose's ${NAME:-default} and ${NAME}, everywhere below `value`."""
    if isinstance(value, dict):
        return {key: substituted(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [substituted(one, environment) for one in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda found: environment.get(found[1]) or found[2] or "", value)


def compose(**environment):
    return substituted(yaml.safe_load((DEPLOY / "docker-compose.yml").read_text()), environment)


# Image


def dockerfile():
    text = (DEPLOY / "Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", text)
    return [line.split(None, 1) for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def stages():
    """Name of each stage → (what it starts from, its instructions)."""
    found, current = {}, None
    for word, rest in dockerfile():
        if word == "FROM":
            parent, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            current = []
            found[name] = (parent, current)
        elif current is not None:
            current.append((word, rest))
    return found


@check
def image_stages():
    """the image has the targets `source` and `prebuilt`, on one runtime stage"""
    expect_equal(list(stages()), ["runtime", "prebuilt", "build", "source"], "stages")
    expect_equal(stages()["prebuilt"][0], "runtime", "prebuilt's base")
    expect_equal(stages()["source"][0], "runtime", "source's base")
    expect_equal(stages()["runtime"][0], "${BASE_IMAGE}", "the runtime's base")


@check
def image_runtime():
    """the image runs as a user without rights, with a volume, and stops by SIGTERM"""
    runtime = dict(stages()["runtime"][1])
    expect_equal(runtime["USER"], f"{USER}:{USER}", "USER")
    expect_equal(runtime["VOLUME"], "/var/lib/slipher", "VOLUME")
    expect_equal(runtime["STOPSIGNAL"], "SIGTERM", "STOPSIGNAL")
    expect_equal(runtime["ENTRYPOINT"], '["slipher-container"]', "ENTRYPOINT")
    expect_equal({int(port) for port in runtime["EXPOSE"].split()}, set(PORTS.values()), "EXPOSE")
    for name, (_, instructions) in stages().items():
        expect(all(word != "ADD" for word, _ in instructions), f"{name}: ADD may fetch from anywhere")
        expect(name == "runtime" or all(word != "USER" for word, _ in instructions), f"{name} changes the user")


@check
def image_context():
    """what the image copies, and every crate of the workspace, is in the build context"""
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    expect("*" in ignore, "all other files are left out")
    members = re.search(r"members = \[([^\]]*)\]", (ROOT / "Cargo.toml").read_text())[1]
    for member in re.findall(r'"([^"]+)"', members):
        wanted = "src" if member == "." else member.split("/")[0]
        expect(wanted in kept, f"the crate {member} is missing in the context")
        expect((ROOT / member).is_dir(), f"there is no crate {member}")
    for file in ["Cargo.toml", "Cargo.lock", "deploy/slipher-container", "target/release/slipher"]:
        expect(file in kept, f"{file} is missing in the context")


@check
def image_script():
    """the script that starts the container is executable and a correct shell script"""
    script = DEPLOY / "slipher-container"
    expect(os.access(script, os.X_OK), "it is not executable")
    subprocess.run(["sh", "-n", script], check=True)


# Compose


@check
def compose_nodes():
    """Compose runs a leader and three compute nodes that restart, without rights"""
    services = compose()["services"]
    expect_equal(services["leader"]["command"], "leader", "the leader's command")
    expect_equal(services["compute"]["command"], "compute", "the compute nodes' command")
    expect_equal(services["compute"]["deploy"]["replicas"], 3, "compute nodes")
    expect("container_name" not in services["compute"], "a named container cannot be scaled")
    expect("ports" not in services["compute"], "compute nodes publish no port")
    for name in ("leader", "compute"):
        service = services[name]
        expect_equal(service["restart"], "unless-stopped", f"{name}: restart")
        expect_equal(service["read_only"], True, f"{name}: read_only")
        expect_equal(service["cap_drop"], ["ALL"], f"{name}: cap_drop")
        expect_equal(service["security_opt"], ["no-new-privileges:true"], f"{name}: security_opt")
        expect_equal(service["healthcheck"]["test"], ["CMD", "slipher-container", "health", name], f"{name}: health check")
        expect_equal(service["build"]["target"], "source", f"{name}: build target")
        expect((DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file(), f"{name}: no Dockerfile")
        grace = int(service["stop_grace_period"].removesuffix("s"))
        expect(grace >= 30, f"{name}: {grace} s to stop are few")


@check
def compose_ports():
    """Compose publishes on loopback only, and never the ports between nodes"""
    internal = {str(PORTS["nodes"]), str(PORTS["node"])}
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            address, _, inside = port.split(":")
            expect_equal(address, "127.0.0.1", f"{name}: address of port {inside}")
            expect(inside not in internal, f"{name} publishes port {inside}")
    published = {port.split(":")[2] for port in compose()["services"]["leader"]["ports"]}
    expect_equal(published, {str(PORTS[name]) for name in ("postgres", "flight-sql", "http")}, "ports of the leader")
    moved = compose(SLIPHER_BIND="0.0.0.0", SLIPHER_PG_PORT="6000")["services"]["leader"]["ports"]
    expect("0.0.0.0:6000:5439" in moved, "address and port can be chosen")


@check
def compose_references():
    """every volume, secret and file that Compose names is there; profiles are optional"""
    file = compose()
    used = set()
    for name, service in file["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect(source == "./load" or (DEPLOY / source).is_file(), f"{name}: no file {source}")
            else:
                used.add(source)
        for secret in service.get("secrets", []):
            expect(secret in file["secrets"], f"{name}: secret {secret} is not declared")
    expect_equal(used, set(file["volumes"]), "volumes")
    optional = {name: service["profiles"] for name, service in file["services"].items() if "profiles" in service}
    expect_equal(optional, {"s3": ["s3"], "prometheus": ["metrics"]}, "profiles")
    for name in ("leader", "compute"):
        targets = [volume.split(":")[1] for volume in file["services"][name]["volumes"]]
        expect_equal(targets, ["/var/lib/slipher", "/load"], f"{name}: mounts")


@check
def compose_password():
    """no password stands in the Compose file, and none is needed"""
    leader = compose()["services"]["leader"]["environment"]
    expect_equal(leader["SLIPHER_ADMIN_PASSWORD"], "", "the password")
    expect_equal(compose()["secrets"]["admin-password"]["file"], "/dev/null", "the password's file")
    given = compose(SLIPHER_ADMIN_PASSWORD_FILE="/somewhere")
    expect_equal(given["secrets"]["admin-password"]["file"], "/somewhere", "a file that was given")
    expect("SLIPHER_ADMIN_PASSWORD" not in compose()["services"]["compute"]["environment"], "compute nodes need no password")
    expect_equal(compose()["services"]["s3"]["environment"]["MINIO_ROOT_PASSWORD"], "", "the store's password")


@check
def prometheus():
    """Prometheus reads the leader's port"""
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    targets = [one["targets"] for job in configuration["scrape_configs"] for one in job["static_configs"]]
    expect_equal(targets, [[f"leader:{PORTS['http']}"]], "targets")


@check
def compose_command():
    """a Compose command, where one is installed, accepts the file with all profiles"""
    used = []
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None or subprocess.run([*command, "version"], capture_output=True).returncode != 0:
            continue
        arguments = ["-f", DEPLOY / "docker-compose.yml", "--profile", "s3", "--profile", "metrics", "config", "-q"]
        subprocess.run([*command, *arguments], check=True)
        used.append(" ".join(command))
    return f"by {', '.join(used)}" if used else "skipped: none is installed"


# Kubernetes


@check
def kubernetes_schemas():
    """every manifest fits the published schemas, with no unknown key"""
    for name, objects in each_kustomization():
        for one in objects:
            for version in KUBERNETES_VERSIONS:
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except Exception as error:
                    raise AssertionError(f"{name}: {one['kind']} {one['metadata']['name']}, {version}: {error}") from error
    return f"of Kubernetes {', '.join(KUBERNETES_VERSIONS)}"


@check
def kubernetes_kustomize():
    """kustomize, where it is installed, resolves the same objects as this test"""
    commands = [["kustomize", "build"], ["kubectl", "kustomize"]]
    command = next((command for command in commands if shutil.which(command[0])), None)
    if command is None:
        return "skipped: neither kustomize nor kubectl is installed"

    def key(one):
        return one["kind"], one["metadata"]["name"]

    for name, objects in each_kustomization():
        output = subprocess.run([*command, KUSTOMIZATIONS[name]], check=True, capture_output=True, text=True).stdout
        theirs = [one for one in yaml.safe_load_all(output) if one is not None]
        expect_equal(sorted(objects, key=key), sorted(theirs, key=key), name)
    return f"by {' '.join(command)}"


@check
def kubernetes_replicas():
    """one leader; three compute nodes, or one with one copy in the overlay"""
    wanted = {"base": (3, "2"), "single-node": (1, "1")}
    for name, objects in each_kustomization():
        sets, settings = of_kind(objects, "StatefulSet"), of_kind(objects, "ConfigMap")["slipher"]["data"]
        expect_equal(sets["slipher-leader"]["spec"]["replicas"], 1, f"{name}: leaders")
        found = (sets["slipher-compute"]["spec"]["replicas"], settings["SLIPHER_REPLICATION_FACTOR"])
        expect_equal(found, wanted[name], f"{name}: compute nodes and copies")
        slices = int(settings["SLIPHER_SLICES"])
        expect(slices >= found[0], f"{name}: a node without a slice")


@check
def kubernetes_selectors():
    """every selector of a Service, budget, policy and set finds its pods and no others"""
    for name, objects in each_kustomization():
        sets = of_kind(objects, "StatefulSet")
        labels = {set_name: one["spec"]["template"]["metadata"]["labels"] for set_name, one in sets.items()}

        def found(selector):
            return {set_name for set_name, own in labels.items() if selects(selector, own)}

        for set_name, one in sets.items():
            expect_equal(found(one["spec"]["selector"]["matchLabels"]), {set_name}, f"{name}: {set_name}")
        wanted = {"slipher": "slipher-leader", "slipher-leader": "slipher-leader", "slipher-compute": "slipher-compute"}
        for service_name, service in of_kind(objects, "Service").items():
            expect_equal(found(service["spec"]["selector"]), {wanted[service_name]}, f"{name}: Service {service_name}")
        budget = of_kind(objects, "PodDisruptionBudget")["slipher-compute"]["spec"]
        expect_equal(found(budget["selector"]["matchLabels"]), {"slipher-compute"}, f"{name}: budget")
        for policy_name, policy in of_kind(objects, "NetworkPolicy").items():
            expect_equal(found(policy["spec"]["podSelector"]["matchLabels"]), {policy_name}, f"{name}: policy {policy_name}")


@check
def kubernetes_ports():
    """ports have the same names and numbers everywhere, and probes, Services and policies use them"""
    for name, objects in each_kustomization():
        sets, services = of_kind(objects, "StatefulSet"), of_kind(objects, "Service")
        of_set = {}
        for set_name, one in sets.items():
            container = pod_of(one)["containers"][0]
            of_set[set_name] = {port["name"]: port["containerPort"] for port in container["ports"]}
            for port_name, number in of_set[set_name].items():
                expect_equal(number, PORTS[port_name], f"{name}: {set_name}'s port {port_name}")
            for probe_name in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container[probe_name]
                used = (probe.get("httpGet") or probe.get("tcpSocket"))["port"]
                expect(used in of_set[set_name], f"{name}: {set_name}'s {probe_name} asks port {used}")
        leader = pod_of(sets["slipher-leader"])["containers"][0]
        paths = {probe: leader[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
        wanted = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        expect_equal(paths, wanted, f"{name}: the leader's probes")
        for service_name, service in services.items():
            target = "slipher-compute" if service_name == "slipher-compute" else "slipher-leader"
            for port in service["spec"]["ports"]:
                expect_equal(port["port"], of_set[target][port["targetPort"]], f"{name}: Service {service_name}")
        for policy_name, policy in of_kind(objects, "NetworkPolicy").items():
            for rule in policy["spec"]["ingress"]:
                inner = {port["port"] for port in rule["ports"]} & {"nodes", "node"}
                expect(not inner or "from" in rule, f"{name}: {policy_name} lets everybody to {inner}")
                used = {port["port"] for port in rule["ports"]}
                expect(used <= set(of_set[policy_name]), f"{name}: {policy_name} names ports {used}")


@check
def kubernetes_names():
    """nodes reach each other by names that headless Services give, before they are ready"""
    for name, objects in each_kustomization():
        sets, services = of_kind(objects, "StatefulSet"), of_kind(objects, "Service")
        for set_name, one in sets.items():
            service = services[one["spec"]["serviceName"]]["spec"]
            expect_equal(service["clusterIP"], "None", f"{name}: {set_name}'s Service")
            expect_equal(service["publishNotReadyAddresses"], True, f"{name}: {set_name}'s Service")
        expect("clusterIP" not in services["slipher"]["spec"], f"{name}: clients have an address that stays")
        compute = pod_of(sets["slipher-compute"])["containers"][0]
        variables = {one["name"]: one.get("value") for one in compute["env"]}
        expect_equal(variables["SLIPHER_LEADER"], f"slipher-leader:{PORTS['nodes']}", f"{name}: the leader's address")
        expect_equal(variables["SLIPHER_ADVERTISE"], f"$(SLIPHER_NAME).slipher-compute:{PORTS['node']}", f"{name}: own address")
        results = f"$(SLIPHER_NAME).slipher-compute.$(POD_NAMESPACE).svc:{PORTS['results']}"
        expect_equal(variables["SLIPHER_FLIGHT_ADVERTISE"], results, f"{name}: own address for clients")
        seen = set()
        for one in compute["env"]:
            used = set(re.findall(r"\$\((\w+)\)", one.get("value", "")))
            expect(used <= seen, f"{name}: {one['name']} uses {used - seen} before it is set")
            seen.add(one["name"])


@check
def kubernetes_references():
    """every ConfigMap, Secret and volume that a pod names is there, and data is on a claim that stays"""
    for name, objects in each_kustomization():
        for set_name, one in of_kind(objects, "StatefulSet").items():
            pod, container = pod_of(one), pod_of(one)["containers"][0]
            for source in container["envFrom"]:
                expect(source["configMapRef"]["name"] in of_kind(objects, "ConfigMap"), f"{name}: {set_name}: {source}")
            claims = {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
            volumes = {volume["name"] for volume in pod["volumes"]}
            for volume in pod["volumes"]:
                if "secret" in volume:
                    expect(volume["secret"]["secretName"] in of_kind(objects, "Secret"), f"{name}: {set_name}: {volume}")
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            expect_equal(set(mounts.values()), volumes | claims, f"{name}: {set_name}'s mounts")
            expect(mounts["/var/lib/slipher"] in claims, f"{name}: {set_name}'s data is on no claim")
            kept = one["spec"]["persistentVolumeClaimRetentionPolicy"]
            expect_equal(kept, {"whenDeleted": "Retain", "whenScaled": "Retain"}, f"{name}: {set_name}'s claims")
        expect_equal(of_kind(objects, "Secret")["slipher-admin"]["stringData"], {"password": ""}, f"{name}: the password")


@check
def kubernetes_rights():
    """pods run without rights, on a root they cannot write to, within limits"""
    for name, objects in each_kustomization():
        for set_name, one in of_kind(objects, "StatefulSet").items():
            pod, container = pod_of(one), pod_of(one)["containers"][0]
            expect_equal(len(pod["containers"]), 1, f"{name}: {set_name}'s containers")
            security = pod["securityContext"]
            for key in ("runAsUser", "runAsGroup", "fsGroup"):
                expect_equal(security[key], USER, f"{name}: {set_name}: {key}")
            expect_equal(security["runAsNonRoot"], True, f"{name}: {set_name}: runAsNonRoot")
            expect_equal(security["seccompProfile"], {"type": "RuntimeDefault"}, f"{name}: {set_name}: seccompProfile")
            wanted = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            expect_equal(container["securityContext"], wanted, f"{name}: {set_name}'s container")
            expect_equal(pod["automountServiceAccountToken"], False, f"{name}: {set_name}: token")
            expect_equal(pod["enableServiceLinks"], False, f"{name}: {set_name}: enableServiceLinks")
            resources = container["resources"]
            expect({"cpu", "memory"} <= set(resources["requests"]), f"{name}: {set_name} requests too little")
            expect("memory" in resources["limits"], f"{name}: {set_name} has no memory limit")


def variables_set():
    """Every SLIPHER_* variable that a container of Compose or Kubernetes gets."""
    found = set(re.findall(r"SLIPHER_\w+", (DEPLOY / "slipher-container").read_text()))
    for service in compose()["services"].values():
        found |= {name for name in service.get("environment", {}) if name.startswith("SLIPHER_")}
    for _, objects in each_kustomization():
        found |= set(of_kind(objects, "ConfigMap")["slipher"]["data"])
        for one in of_kind(objects, "StatefulSet").values():
            names = [variable["name"] for variable in pod_of(one)["containers"][0]["env"]]
            found |= {name for name in names if name.startswith("SLIPHER_")}
    return found


@check
def variables_are_told():
    """every variable that the Compose file reads stands in its head comment"""
    text = (DEPLOY / "docker-compose.yml").read_text()
    head, body = text.split("\nx-slipher:", 1)
    read = set(re.findall(r"\$\{(SLIPHER_\w+)", body)) - LOG_VARIABLES
    told = set(re.findall(r"SLIPHER_\w+", head))
    expect_equal(told, read, "variables")


def variables_of(binary):
    """every variable that is set is one of slipher's"""
    known = set()
    for command in ("leader", "compute", "sql"):
        help_text = subprocess.run([pathlib.Path(binary).resolve(), command, "--help"], check=True, capture_output=True, text=True)
        known |= set(re.findall(r"SLIPHER_\w+", help_text.stdout))
    unknown = variables_set() - known - SCRIPT_VARIABLES - LOG_VARIABLES
    expect(not unknown, f"slipher has no {sorted(unknown)}")


def main(arguments):
    if len(arguments) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = [(function.__doc__, function) for function in CHECKS]
    if arguments:
        checks.append((variables_of.__doc__, lambda: variables_of(arguments[0])))
    failed = 0
    for name, function in checks:
        try:
            note = function()
            print(f"ok      {name}")
            if note:
                print(f"        {note}")
        except Exception:
            failed += 1
            print(f"FAILED  {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
