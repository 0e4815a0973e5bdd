"""Where the programs and data that come with the package lie."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from pangea.files import explained

_PACKAGE = Path(os.path.abspath(__file__)).parent


class MissingFile(FileNotFoundError):
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


def run_dir_path(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """Where a run's files go: `wanted`, or `pangea-runs/TIME-SEED-PROCESS` in the caller's folder."""
    return caller_folder() / (wanted if wanted is not None else f"pangea-runs/{time.strftime('%Y%m%d-%H%M%S')}-{seed}-{os.getpid()}")


def new_run_dir(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """Makes the run directory at `run_dir_path`.

    Raises:
        FileExistsError: if there is a run in it already.
        DiskRefuses: it cannot be made.
    """
    run_dir = run_dir_path(wanted, seed)
    with explained(f"cannot make the run directory {run_dir}", "make room there, get the right to write, or choose another --run-dir"):
        taken = (run_dir / "run.json").exists()
        if not taken:
            (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    if taken:
        raise FileExistsError(f"{run_dir} holds a run already; choose another --run-dir, or remove it")
    return run_dir
