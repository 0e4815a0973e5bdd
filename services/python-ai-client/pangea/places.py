"""Where the programs and data that come with the package lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pangea.errors import PangeaError

_PACKAGE = Path(os.path.abspath(__file__)).parent


class MissingFile(PangeaError, FileNotFoundError):
    """Something that belongs to the package is not there."""


def _find(folder: Path, name: str, variable: str) -> Path:
    place = folder / name
    if not place.exists():
        raise MissingFile(f"{place} is missing; build it with Bazel (./bazelw build //services/...), or set {variable} to the folder that holds {name}")
    return place


def program(name: str) -> Path:
    """A service's program: `go-orchestrator` or `rust-compute`."""
    return _find(Path(os.environ.get("PANGEA_BIN_DIR", _PACKAGE / "bin")), name, "PANGEA_BIN_DIR")


def data_folder() -> Path:
    """The folder of the data files that are shipped."""
    return Path(os.environ.get("PANGEA_DATA_DIR", _PACKAGE / "data"))


def data_file(name: str) -> Path:
    """A data file that is shipped, such as `digits.csv.gz`."""
    return _find(data_folder(), name, "PANGEA_DATA_DIR")


def example(name: str) -> Path:
    """A training script that is shipped."""
    return _find(_PACKAGE / "examples", name, "nothing")


def python_command(script: Path) -> list[str]:
    """The command that runs a Python script with this interpreter and its import path."""
    return [os.environ.get("PANGEA_PYTHON", sys.executable), str(script)]


def python_environment() -> dict[str, str]:
    """This process's environment, with its import path for children."""
    # Absolute, since a child may have another working directory.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry), "PYTHONUNBUFFERED": "1"}


def caller_folder() -> Path:
    """The folder that the user called from; `bazel run` changes into another one."""
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY") or Path.cwd())
