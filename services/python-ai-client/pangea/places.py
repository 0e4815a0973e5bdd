"""Paths of the programs and data files that ship with the package, and of the user's working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pangea.errors import PangeaError

_PACKAGE = Path(os.path.abspath(__file__)).parent


class MissingFile(PangeaError, FileNotFoundError):
    """A file that belongs to the package does not exist."""


def _find(folder: Path, name: str, variable: str) -> Path:
    place = folder / name
    if not place.exists():
        raise MissingFile(
            f"{place} is missing; build it with Bazel (./bazelw build //services/...), or set {variable} to the folder"
            f" that holds {name}"
        )
    return place


def program(name: str) -> Path:
    """Returns the path of a service's program: `go-orchestrator` or `rust-compute`."""
    return _find(Path(os.environ.get("PANGEA_BIN_DIR", _PACKAGE / "bin")), name, "PANGEA_BIN_DIR")


def data_folder() -> Path:
    """Returns the folder of the data files that ship with the package."""
    return Path(os.environ.get("PANGEA_DATA_DIR", _PACKAGE / "data"))


def data_file(name: str) -> Path:
    """Returns the path of a data file that ships with the package, such as `digits.csv.gz`."""
    return _find(data_folder(), name, "PANGEA_DATA_DIR")


def example(name: str) -> Path:
    """Returns the path of an example training script that ships with the package."""
    return _find(_PACKAGE / "examples", name, "nothing")


def is_example(script: Path) -> bool:
    """Returns whether a script is an example that ships with the package."""
    return script.resolve().parent == (_PACKAGE / "examples").resolve()


def python_command(script: Path) -> list[str]:
    """Returns the command that runs a Python script with this interpreter."""
    return [os.environ.get("PANGEA_PYTHON", sys.executable), str(script)]


def python_environment() -> dict[str, str]:
    """Returns this process's environment with its import path in PYTHONPATH, for child processes."""
    # Absolute, because a child may run in a different working directory.
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry),
        "PYTHONUNBUFFERED": "1",
    }


def caller_folder() -> Path:
    """Returns the user's working directory; `bazel run` changes the current one."""
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY") or Path.cwd())
