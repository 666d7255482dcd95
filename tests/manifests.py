"""Reads Kubernetes manifests as `kubectl apply -k` would hand them to a cluster, without kubectl.

Knows as much of kustomize as our files use, and refuses the rest. Knows no setting and no command of the service.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_KEYS = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "images"}
_SCHEDULED = {"Deployment", "Job"}


@dataclass
class Manifests:
    """All objects of a folder and of those that it builds on."""

    objects: list[Object] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)

    def of(self, kind: str) -> dict[str, Object]:
        """Those of a kind, by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    def templates(self) -> dict[str, Object]:
        """What pods are made from, by the name of the Deployment or Job."""
        return {name: each["spec"]["template"] for kind in sorted(_SCHEDULED) for name, each in self.of(kind).items()}

    def containers(self) -> Iterator[tuple[str, Object]]:
        """Each container, the first ones included, with the name of what runs it."""
        for name, template in self.templates().items():
            for each in containers(template):
                yield name, each


def containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def read(folder: Path) -> Manifests:
    """What a folder with a kustomization.yaml describes."""
    manifests = Manifests()
    _build(folder, manifests)
    return manifests


def documents(path: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether labels are what a selector asks for."""
    tests = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        tests[each["operator"]](labels.get(each["key"]), each["values"])
        for each in selector.get("matchExpressions", ())
    )


def _build(folder: Path, manifests: Manifests) -> None:
    [own] = documents(folder / "kustomization.yaml")
    manifests.files.add(folder / "kustomization.yaml")
    assert set(own) <= _KEYS, f"{folder}: this reader does not know {sorted(set(own) - _KEYS)}"
    for name in [*own.get("resources", ()), *own.get("components", ())]:
        if (folder / name).is_dir():
            _build((folder / name).resolve(), manifests)
        else:
            manifests.files.add(folder / name)
            manifests.objects += documents(folder / name)
    for each in own.get("configMapGenerator", ()):
        _generate(each, folder, manifests)
    for each in manifests.objects:
        if own.get("namespace") and each["kind"] != "Namespace":
            each["metadata"]["namespace"] = own["namespace"]
    for image in own.get("images", ()):
        _rename(image, manifests)


def _generate(generator: Object, folder: Path, manifests: Manifests) -> None:
    manifests.files |= {folder / name for name in generator.get("envs", ())}
    lines = [line for name in generator.get("envs", ()) for line in (folder / name).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")] + generator.get("literals", [])
    data = dict(line.split("=", 1) for line in lines)
    if generator.get("behavior") == "merge":
        manifests.of("ConfigMap")[generator["name"]]["data"] |= data
        return
    labels = generator.get("options", {}).get("labels", {})
    metadata = {"name": generator["name"], "labels": labels}
    manifests.objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _rename(image: Object, manifests: Manifests) -> None:
    for _, container in manifests.containers():
        name, _, tag = container["image"].partition(":")
        if name == image["name"]:
            container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
