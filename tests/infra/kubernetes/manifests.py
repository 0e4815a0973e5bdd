"""infra/kubernetes as kustomize builds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("infra/kubernetes")
# The oldest version that has all fields that are used here, and the newest in the lock.
VERSIONS = ("1.29", "1.37")
Manifest = dict[str, Any]


class UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types.
    """A loader that is as strict as kubectl: a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        duplicates = {key for key in keys if keys.count(key) > 1}
        if duplicates:
            raise ValueError(f"{node.start_mark}: duplicate keys {duplicates}")
        return dict(super().construct_mapping(node, deep))


def read(file: Path) -> list[Manifest]:
    """The manifests in one file."""
    return [document for document in yaml.load_all(file.read_text(), UniqueKeys) if document is not None]


def containers(manifest: Manifest) -> list[Manifest]:
    """The containers of a manifest that makes pods; none of any other manifest."""
    spec = pod(manifest)
    return [] if spec is None else list(spec["containers"])


def pod(manifest: Manifest) -> Manifest | None:
    """The pod's spec, if the manifest makes pods."""
    if manifest["kind"] == "Pod":
        return dict(manifest["spec"])
    template = manifest.get("spec", {}).get("template")
    return None if template is None else dict(template["spec"])


def pod_labels(manifest: Manifest) -> dict[str, str]:
    """The labels of the pods that the manifest makes."""
    return dict(manifest["spec"]["template"]["metadata"]["labels"])


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The manifests that make pods, in this order: orchestrator, data service, workers."""
    return sorted(
        (manifest for manifest in manifests if pod(manifest) is not None),
        key=lambda manifest: ("StatefulSet", "Deployment", "Job").index(manifest["kind"]),
    )


def build(folder: Path = FOLDER) -> list[Manifest]:
    """What kustomize makes of a folder.

    Raises:
        ValueError: kustomize refuses the folder; the message is its own.
    """
    with tempfile.TemporaryDirectory() as copied:
        # It follows no link out of the folder, and the files of a test are links.
        shutil.copytree(folder, copied, dirs_exist_ok=True)
        built = subprocess.run([os.environ["KUSTOMIZE"], "build", copied], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise ValueError(built.stderr)
    return list(yaml.load_all(built.stdout, UniqueKeys))
