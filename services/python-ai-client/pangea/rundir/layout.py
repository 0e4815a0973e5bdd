"""Where the files of a run lie, and what the services that write them are called."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from pangea.places import caller_folder
from pangea.rundir.atomic_file import explain_disk_errors

ORCHESTRATOR = "go-orchestrator"
DATA_SERVICE = "rust-compute"
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Addresses:
    """Where a service listens, host:port: for workers, and for people and probes."""

    listen: str = _ANY_PORT
    http: str = _ANY_PORT


FREE_PORTS = Addresses()


def data_service_name(number: int) -> str:
    """Of the replica with that number, from 1."""
    return DATA_SERVICE if number == 1 else f"{DATA_SERVICE}-{number}"


def port_file(run_dir: Path, name: str) -> Path:
    """Where a service of this run writes its addresses."""
    return run_dir / "logs" / f"{name}.ports.json"


def run_dir_path(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """Where a run's files go: `wanted`, or `pangea-runs/TIME-SEED-PROCESS` in the caller's folder."""
    return caller_folder() / (wanted if wanted is not None else f"pangea-runs/{time.strftime('%Y%m%d-%H%M%S')}-{seed}-{os.getpid()}")


def new_run_dir(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """Makes the run directory at `run_dir_path`.

    Raises:
        FileExistsError: if there is a run in it already.
        DiskError: it cannot be made.
    """
    run_dir = run_dir_path(wanted, seed)
    with explain_disk_errors(f"cannot make the run directory {run_dir}", "make room there, get the right to write, or choose another --run-dir"):
        taken = (run_dir / "run.json").exists()
        if not taken:
            (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    if taken:
        raise FileExistsError(f"{run_dir} holds a run already; choose another --run-dir, or remove it")
    return run_dir
