"""The paths of a run's files, and the names of the services that write them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.foreign import check_fields, read_object
from pangea.places import caller_folder
from pangea.rundir.atomic_file import explain_disk_errors

ORCHESTRATOR = "go-orchestrator"
DATA_SERVICE = "rust-compute"
LEDGER_FILE = "ledger.jsonl"
_ANY_PORT = "127.0.0.1:0"

# Fields of run.json that are used without another look, and their types. Earlier releases have not all of them.
_RECORD_FIELDS: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "state": (str,),
    "stopped": (str,),
    "checkpoint_error": (str,),
    "incidents": (int,),
    "total_steps": (int,),
    "resumed_from": (dict, type(None)),
}
_RESUMED_FIELDS: dict[str, tuple[type, ...]] = {"step": (int,), "steps_again": (int,), "file": (str,)}


@dataclass(frozen=True)
class Addresses:
    """The addresses of a service, host:port: `listen` for workers, `http` for health checks, status and metrics.

    `socket` is the path of its Unix socket for workers on this machine, or empty.
    """

    listen: str = _ANY_PORT
    http: str = _ANY_PORT
    socket: str = ""

    @property
    def for_workers(self) -> str:
        """What workers on this machine connect to: the socket, and `listen` if it does not answer."""
        return f"unix:{self.socket}|{self.listen}" if self.socket else self.listen


FREE_PORTS = Addresses()


def read_record(run_dir: Path) -> dict[str, Any]:
    """The content of run.json; empty while it does not exist.

    Raises:
        UnreadableFile: it is not a JSON object, or one of `_RECORD_FIELDS` has another type.
    """
    record = _read(run_dir / "run.json")
    check_fields(record, _RECORD_FIELDS, f"{run_dir / 'run.json'}", all_of=False)
    if record.get("resumed_from"):
        check_fields(record["resumed_from"], _RESUMED_FIELDS, f"resumed_from in {run_dir / 'run.json'}")
    return record


def read_result(run_dir: Path) -> dict[str, Any]:
    """The content of result.json; empty while it does not exist.

    Raises:
        UnreadableFile: it is not a JSON object.
    """
    return _read(run_dir / "result.json")


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except FileNotFoundError:
        return {}


def data_service_name(number: int) -> str:
    """The name of the replica with this number, from 1."""
    return DATA_SERVICE if number == 1 else f"{DATA_SERVICE}-{number}"


def port_file(run_dir: Path, name: str) -> Path:
    """The file to which a service of this run writes its addresses."""
    return run_dir / "logs" / f"{name}.ports.json"


def wanted_file(run_dir: Path, name: str) -> Path:
    """The file by which a worker asks the launcher for a service that is started only when it is needed."""
    return run_dir / "logs" / f"{name}.wanted"


def socket_file(run_dir: Path, name: str) -> str:
    """The path of the Unix socket of a service of this run; empty if the path could not be written in an address."""
    path = str((run_dir / "logs" / f"{name}.sock").absolute())
    return "" if set(path) & set("|,") else path


def run_dir_path(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """The path of a run directory: `wanted`, or `pangea-runs/TIME-SEED-PROCESS`, relative to the caller's folder."""
    return caller_folder() / (
        wanted if wanted is not None else f"pangea-runs/{time.strftime('%Y%m%d-%H%M%S')}-{seed}-{os.getpid()}"
    )


def new_run_dir(wanted: str | os.PathLike[str] | None, seed: int) -> Path:
    """Creates the run directory at `run_dir_path`.

    Raises:
        FileExistsError: it already holds a run.
        DiskError: it cannot be created.
    """
    run_dir = run_dir_path(wanted, seed)
    with explain_disk_errors(
        f"cannot create the run directory {run_dir}",
        "free some space, get permission to write there, or choose another --run-dir",
    ):
        taken = (run_dir / "run.json").exists()
        if not taken:
            (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    if taken:
        raise FileExistsError(f"{run_dir} holds a run already; choose another --run-dir, or remove it")
    return run_dir
