"""Paths of the programs and data files that ship with the package, and of the user's working directory."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path

from pangea.errors import PangeaError

_PACKAGE = Path(os.path.abspath(__file__)).parent


class MissingFile(PangeaError, FileNotFoundError):
    """A file that belongs to the package does not exist, or cannot be used."""


def _find(folder: Path, name: str, variable: str) -> Path:
    place = folder / name
    if not place.exists():
        advice = f"or set {variable} to the folder that holds {name}" if variable else f"it belongs to {_PACKAGE}"
        raise MissingFile(
            f"{place} is missing; install the package again (pip install --force-reinstall ./pangea-*.whl), in a"
            f" checkout build it (./bazelw build //services/...), {advice}"
        )
    return place


def program(name: str) -> Path:
    """Returns the path of a service's program: `go-orchestrator` or `rust-compute`."""
    place = _find(Path(os.environ.get("PANGEA_BIN_DIR") or _PACKAGE / "bin"), name, "PANGEA_BIN_DIR")
    if not os.access(place, os.X_OK):
        raise MissingFile(
            f"{place} cannot be executed: chmod +x {place}, or install the package on a file system that is not mounted"
            " with noexec"
        )
    return place


def data_folder() -> Path:
    """Returns the folder of the data files that ship with the package."""
    return Path(os.environ.get("PANGEA_DATA_DIR") or _PACKAGE / "data")


def data_file(name: str) -> Path:
    """Returns the path of a data file that ships with the package, such as `digits.csv.gz`."""
    return _find(data_folder(), name, "PANGEA_DATA_DIR")


def example(name: str) -> Path:
    """Returns the path of an example training script that ships with the package."""
    return _find(_PACKAGE / "examples", name, "")


def installed_commands() -> Path | None:
    """Returns the folder of the command `pangea` of this interpreter's environment; None if it has none."""
    folder = Path(sys.executable).parent
    return folder if (folder / "pangea").is_file() else None


def is_example(script: Path) -> bool:
    """Returns whether a script is an example that ships with the package."""
    return script.resolve().parent == (_PACKAGE / "examples").resolve()


def python_command(script: Path) -> list[str]:
    """Returns the command that runs a Python script with this interpreter."""
    return [sys.executable, str(script)]


def python_environment() -> dict[str, str]:
    """Returns this process's environment for child processes: they find the same packages in any working directory.

    Only what the interpreter does not find by itself is in PYTHONPATH, which also programs of other environments read
    that a script may start.
    """
    given = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    entries = [*given, *(entry for entry in _added_entries() if entry not in given)]
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        **({"PYTHONPATH": os.pathsep.join(entries)} if entries else {}),
        "PYTHONUNBUFFERED": "1",
    }


def _added_entries() -> list[str]:
    """Returns the import path of this process without the folders that its interpreter finds by itself."""
    library = sysconfig.get_path("stdlib")
    own = {
        library,
        sysconfig.get_path("platstdlib"),
        os.path.join(library, "lib-dynload"),
        f"{os.path.dirname(library)}/python{sys.version_info.major}{sys.version_info.minor}.zip",
        *site.getsitepackages(),
        site.getusersitepackages(),
        # Of the command `pangea`: the folder that it lies in.
        os.path.dirname(sys.executable),
    }
    real = {os.path.realpath(folder) for folder in own}
    # Absolute, because a child may run in a different working directory.
    return [os.path.abspath(entry) for entry in sys.path if entry and os.path.realpath(entry) not in real]


def caller_folder() -> Path:
    """Returns the user's working directory; `bazel run` changes the current one."""
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY") or Path.cwd())
