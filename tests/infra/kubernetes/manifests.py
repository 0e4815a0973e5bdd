"""infra/kubernetes as kustomize builds it. Only what its kustomization uses is understood; anything else is an error, not silence."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("infra/kubernetes")
# The oldest that knows all that is used here, and the newest in the lock.
VERSIONS = ("1.29", "1.37")
Manifest = dict[str, Any]
_UNDERSTOOD = {"apiVersion", "kind", "namespace", "resources", "images"}


class UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types.
    """As kubectl reads: a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ValueError(f"{node.start_mark}: {twice} stand twice")
        return dict(super().construct_mapping(node, deep))


def read(file: Path) -> list[Manifest]:
    """The documents of one file."""
    return [document for document in yaml.load_all(file.read_text(), UniqueKeys) if document is not None]


def containers(manifest: Manifest) -> list[Manifest]:
    """Of a manifest that makes pods."""
    spec = pod(manifest)
    return [] if spec is None else list(spec["containers"])


def pod(manifest: Manifest) -> Manifest | None:
    """The pod's spec, if the manifest makes pods."""
    if manifest["kind"] == "Pod":
        return dict(manifest["spec"])
    template = manifest.get("spec", {}).get("template")
    return None if template is None else dict(template["spec"])


def pod_labels(manifest: Manifest) -> dict[str, str]:
    """Of the pods that the manifest makes."""
    return dict(manifest["spec"]["template"]["metadata"]["labels"])


def _images(kustomization: Manifest) -> dict[str, str]:
    named = {}
    for image in kustomization["images"]:
        if not set(image) <= {"name", "newName", "newTag"}:
            raise ValueError(f"{FOLDER}/kustomization.yaml: this test does not know all of {image}")
        named[image["name"]] = f"{image.get('newName', image['name'])}:{image['newTag']}"
    return named


def _resources(folder: Path, kustomization: Manifest) -> Iterator[Manifest]:
    for name in kustomization["resources"]:
        yield from read(folder / name)


def build(folder: Path = FOLDER) -> list[Manifest]:
    """What `kubectl kustomize` prints: all resources with namespace and images filled in.

    Raises:
        ValueError: if the kustomization uses something that this does not understand, or a pod an image that it does not name.
    """
    (kustomization,) = read(folder / "kustomization.yaml")
    if kustomization.keys() - _UNDERSTOOD:
        raise ValueError(f"{folder}/kustomization.yaml: this test does not know {kustomization.keys() - _UNDERSTOOD}")
    images = _images(kustomization)
    built = []
    for manifest in map(copy.deepcopy, _resources(folder, kustomization)):
        if manifest["kind"] == "Namespace":
            manifest["metadata"]["name"] = kustomization["namespace"]
        else:
            manifest["metadata"]["namespace"] = kustomization["namespace"]
        for container in containers(manifest):
            if container["image"] not in images:
                raise ValueError(f"{manifest['kind']} {manifest['metadata']['name']}: the kustomization does not name the image {container['image']}")
            container["image"] = images[container["image"]]
        built.append(manifest)
    return built
