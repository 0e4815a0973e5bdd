"""pyrightconfig.json, and the Python binding at the place that programs import it from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


def write_binding(folder: Path, package: str, files: list[Path]) -> list[Path]:
    """Copies a binding and its stub to where `from PACKAGE import MODULE` finds them below a folder of the path.

    Returns:
        what was written.
    """
    place = folder.joinpath(*package.split("."))
    shutil.rmtree(folder, ignore_errors=True)
    place.mkdir(parents=True)
    return [Path(shutil.copyfile(file, place / file.name)) for file in files]


def config(version: str, ours: list[str], locked: list[Path]) -> dict[str, Any]:
    """The content of pyrightconfig.json.

    Args:
        version: of the locked Python, such as "3.13".
        ours: folders that imports start from, relative to the workspace's root.
        locked: folders with the locked packages.
    """
    return {
        "pythonVersion": version,
        "pythonPlatform": "Linux",
        "extraPaths": [*ours, *map(str, locked)],
        "exclude": ["bazel-*", "generated", "**/__pycache__"],
        # Bindings are modules at run time and stubs for the checker; capnp and safetensors have no stubs.
        "reportMissingModuleSource": "none",
        "reportMissingTypeStubs": "none",
    }


def write_config(file: Path, content: dict[str, Any]) -> Path:
    """Writes pyrightconfig.json, so that it reads well in a diff."""
    file.write_text(json.dumps(content, indent=2) + "\n")
    return file
