"""The status of a run: from its orchestrator if that answers, else from the files of its directory.

Both may come from somebody else: what they say is checked before it is shown.
"""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any

from pangea.errors import PangeaError
from pangea.foreign import UnreadableFile, check_fields, decode_object, read_object
from pangea.printable import quoted
from pangea.rundir.http_get import OPEN, Access, PageRefused, get
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, port_file

_TIMEOUT_SECONDS = 3.0

# States in which a run can still apply a step.
ACTIVE_STATES = ("waiting", "running")

_OPTIONAL_NUMBER = (int, float, type(None))
# The fields that every status has, and their types. Others are shown only if they exist.
_FIELDS: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "state": (str,),
    "step": (int,),
    "committed": (int,),
    "total_steps": (int,),
    "epoch": (int,),
    "loss": _OPTIONAL_NUMBER,
    "params_hash": (str,),
    "workers": (list,),
    "samples_per_second": _OPTIONAL_NUMBER,
}
_WORKER_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "pid": (int,),
    "step": (int,),
    "shards": (list,),
    "silent": (bool,),
}
_RESUMED_FIELDS: dict[str, tuple[type, ...]] = {"step": (int,), "steps_again": (int,), "file": (str,)}


class StatusUnavailable(PangeaError, RuntimeError):
    """There is neither an orchestrator nor a run where the user pointed to; the message says what was tried."""


def read_status(target: str, base: Path, access: Access = OPEN) -> dict[str, Any]:
    """The status of a run.

    Args:
        target: a run directory, or host:port of an orchestrator's HTTP pages.
        base: the folder to which a relative directory is relative.
        access: what opens the orchestrator's pages.
    Returns:
        the orchestrator's /status with `live` (bool) and, for a directory, `run_dir`; for a run that is not live, the
        same keys with what its files have.
    Raises:
        StatusUnavailable: there is no such run or orchestrator.
        UnreadableFile: a file of the run, or the answer, is not what this release or an earlier one writes.
    """
    run_dir = base / target
    if "\0" not in target and run_dir.is_dir():
        return {**_directory_status(run_dir, access), "run_dir": str(run_dir)}
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise StatusUnavailable(
            f"{run_dir} is not a directory, and {target} is not an address; name a run directory, or host:port of an"
            " orchestrator's HTTP pages"
        )
    try:
        return {**_fetch(target, access), "live": True}
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        scheme = "http" if access.context is None else "https"
        hint = (
            "; it may want --identity DIR, a folder that `pangea certs issue` has made for a viewer"
            if access.context is None
            else ""
        )
        raise StatusUnavailable(
            f"no orchestrator answers at {scheme}://{target}/status ({error}){hint}; its HTTP address is in its run"
            f" directory, in logs/{ORCHESTRATOR}.ports.json"
        ) from error


def _fetch(address: str, access: Access, timeout: float = _TIMEOUT_SECONDS) -> dict[str, Any]:
    where = f"the answer of {address}"
    return _checked(decode_object(get(address, "/status", timeout, access), where), where)


def _checked(status: dict[str, Any], where: str) -> dict[str, Any]:
    """The status, if its fields have their types, so that whoever shows it need not ask.

    Raises:
        UnreadableFile: one has not; the message names it and `where` it is.
    """
    check_fields(status, _FIELDS, where)
    check_fields(status, {"incidents": (int,), "resumed_from": (dict, type(None))}, where, all_of=False)
    for worker in status["workers"]:
        if not isinstance(worker, dict):
            raise UnreadableFile(f"{where} has {quoted(worker)} as a worker; Pangea has not written this")
        check_fields(worker, _WORKER_FIELDS, f"a worker in {where}")
    if status.get("resumed_from"):
        check_fields(status["resumed_from"], _RESUMED_FIELDS, f"resumed_from in {where}")
    return status


def live_status(run_dir: Path, timeout: float = _TIMEOUT_SECONDS, access: Access = OPEN) -> dict[str, Any] | None:
    """The status as the run's orchestrator reports it; None if it does not answer.

    Raises:
        StatusUnavailable: what answers does not tell it to us, or is not known to be the orchestrator.
    """
    ports, record = port_file(run_dir, ORCHESTRATOR), run_dir / "run.json"
    try:
        address = read_object(ports).get("http")
        status = _fetch(str(address), access, timeout)
    except ssl.SSLCertVerificationError as error:
        raise StatusUnavailable(
            f"what answers at {address} is not known as the orchestrator of the run in {run_dir}:"
            f" {error.verify_message}. Renew what has expired (pangea certs show); or if another run uses the address"
            f" by now, remove {ports}"
        ) from error
    except PageRefused as error:
        if not error.unknown_reader:
            return None
        raise StatusUnavailable(
            f"the orchestrator at {address} does not tell its status to everyone ({error}); give --identity DIR, a"
            " folder that `pangea certs issue` has made for a viewer"
        ) from error
    except (OSError, ValueError, http.client.HTTPException):
        return None
    # The orchestrator of another run may be using the port by now.
    return status if not record.exists() or status["run_id"] == read_object(record).get("run_id") else None


def _directory_status(run_dir: Path, access: Access) -> dict[str, Any]:
    if (status := live_status(run_dir, access=access)) is not None:
        return {**status, "live": True}
    record = run_dir / "run.json"
    if not record.exists():
        raise StatusUnavailable(f"{run_dir} holds no run (run.json is missing); check the path")
    return _checked(_status_from_files(read_object(record), run_dir), str(record))


def _status_from_files(run: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    metrics = JsonLinesFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    last = metrics.lines[-1] if metrics.lines else {}
    # An orchestrator that was killed could not record that.
    state = "killed" if run.get("state") in ACTIVE_STATES else run.get("state")
    return {
        "run_id": run.get("run_id"),
        "state": state,
        "step": len(metrics.lines),
        "committed": len(metrics.lines),
        "total_steps": run.get("total_steps"),
        "epoch": last.get("epoch", 0),
        "loss": last.get("loss"),
        "figures": last.get("figures", {}),
        "params_hash": last.get("params_hash", run.get("params_hash")),
        "workers": [],
        "samples_per_second": None,
        "incidents": run.get("incidents", 0),
        "stopped": run.get("stopped", ""),
        "checkpoint_error": run.get("checkpoint_error", ""),
        "resumed_from": run.get("resumed_from"),
        "live": False,
    }
