"""Resolves the part of kustomize that deploy/kubernetes uses; anything else is an error.

Where `kustomize` or `kubectl` is installed, check_manifests.py compares the answers.
"""

import copy
import pathlib

import yaml

KEYS = {"apiVersion", "kind", "resources", "labels", "images", "replicas", "patches"}


def resolve(directory):
    """The objects of a kustomization, in the order of its resources."""
    directory = pathlib.Path(directory)
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KEYS
    if unknown:
        raise ValueError(f"{directory}: keys {sorted(unknown)} are not understood here")
    objects = []
    for resource in kustomization.get("resources", []):
        path = directory / resource
        if path.is_dir():
            objects += resolve(path)
        else:
            objects += [one for one in yaml.safe_load_all(path.read_text()) if one is not None]
    for patch in kustomization.get("patches", []):
        apply_patch(objects, patch)
    for label in kustomization.get("labels", []):
        add_labels(objects, label)
    for replica in kustomization.get("replicas", []):
        set_replicas(objects, replica)
    for image in kustomization.get("images", []):
        set_image(objects, image)
    return objects


def chosen(objects, target):
    """The objects that a patch is for; none is an error, since kustomize would say nothing."""
    found = [
        one
        for one in objects
        if target.get("kind") in (None, one["kind"]) and target.get("name") in (None, one["metadata"]["name"])
    ]
    if not found:
        raise ValueError(f"nothing is {target}")
    return found


def apply_patch(objects, patch):
    unknown = set(patch) - {"target", "patch"}
    if unknown:
        raise ValueError(f"patch: keys {sorted(unknown)} are not understood here")
    operations = yaml.safe_load(patch["patch"])
    if not isinstance(operations, list):
        raise ValueError("patch: only lists of operations (RFC 6902) are understood here")
    for one in chosen(objects, patch["target"]):
        for operation in operations:
            apply_operation(one, operation)


def apply_operation(one, operation):
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    at = one
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    key = int(last) if isinstance(at, list) and last != "-" else last
    present = key in at if isinstance(at, dict) else isinstance(key, int) and key < len(at)
    match operation["op"]:
        case "replace" | "remove" if not present:
            raise ValueError(f"{operation['path']} is not there")
        case "remove":
            del at[key]
        case "add" if key == "-":
            at.append(copy.deepcopy(operation["value"]))
        case "add" if isinstance(at, list):
            at.insert(key, copy.deepcopy(operation["value"]))
        case "add" | "replace":
            at[key] = copy.deepcopy(operation["value"])
        case other:
            raise ValueError(f"operation {other} is not understood here")


def add_labels(objects, label):
    if set(label) != {"pairs"}:
        raise ValueError("labels: only `pairs` is understood here")
    for one in objects:
        one["metadata"].setdefault("labels", {}).update(label["pairs"])


def set_replicas(objects, replica):
    for one in chosen([one for one in objects if "replicas" in one.get("spec", {})], {"name": replica["name"]}):
        one["spec"]["replicas"] = replica["count"]


def set_image(objects, image):
    for one in objects:
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            if container["image"].split(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
