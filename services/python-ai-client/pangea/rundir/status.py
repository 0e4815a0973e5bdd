"""The status of a run: from its orchestrator if that answers, else from the files of its directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pangea.errors import PangeaError
from pangea.rundir.http_get import get
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, port_file

_TIMEOUT_SECONDS = 3.0
# States in which a run can still apply a step.
ACTIVE_STATES = ("waiting", "running")


class StatusUnavailable(PangeaError, RuntimeError):
    """There is neither an orchestrator nor a run where the user pointed to; the message says what was tried."""


def read_status(target: str, base: Path) -> dict[str, Any]:
    """The status of a run.

    Args:
        target: a run directory, or host:port of an orchestrator's HTTP pages.
        base: the folder to which a relative directory is relative.
    Returns:
        the orchestrator's /status with `live` (bool) and, for a directory, `run_dir`; for a run that is not live, the
        same keys with what its files have.
    Raises:
        StatusUnavailable: there is no such run or orchestrator.
    """
    run_dir = base / target
    if run_dir.is_dir():
        return {**_directory_status(run_dir), "run_dir": str(run_dir)}
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise StatusUnavailable(
            f"{run_dir} is not a directory, and {target} is not an address; name a run directory, or host:port of an"
            " orchestrator's HTTP pages"
        )
    try:
        return {**_fetch(target), "live": True}
    except OSError as error:
        raise StatusUnavailable(
            f"no orchestrator answers at http://{target}/status ({error}); its HTTP address is in its run directory, in"
            f" logs/{ORCHESTRATOR}.ports.json"
        ) from error


def _fetch(address: str, timeout: float = _TIMEOUT_SECONDS) -> dict[str, Any]:
    return dict(json.loads(get(f"http://{address}/status", timeout)))


def live_status(run_dir: Path, timeout: float = _TIMEOUT_SECONDS) -> dict[str, Any] | None:
    """The status as the run's orchestrator reports it; None if it does not answer."""
    ports, record = port_file(run_dir, ORCHESTRATOR), run_dir / "run.json"
    try:
        status = _fetch(json.loads(ports.read_text())["http"], timeout)
    except (OSError, ValueError):
        return None
    # The orchestrator of another run may be using the port by now.
    return status if not record.exists() or status["run_id"] == json.loads(record.read_text())["run_id"] else None


def _directory_status(run_dir: Path) -> dict[str, Any]:
    if (status := live_status(run_dir)) is not None:
        return {**status, "live": True}
    record = run_dir / "run.json"
    if not record.exists():
        raise StatusUnavailable(f"{run_dir} holds no run (run.json is missing); check the path")
    return _status_from_files(json.loads(record.read_text()), run_dir)


def _status_from_files(run: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    metrics = JsonLinesFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    last = metrics.lines[-1] if metrics.lines else {}
    # An orchestrator that was killed could not record that.
    state = "killed" if run["state"] in ACTIVE_STATES else run["state"]
    return {
        "run_id": run["run_id"],
        "state": state,
        "step": len(metrics.lines),
        "committed": len(metrics.lines),
        "total_steps": run["total_steps"],
        "epoch": last.get("epoch", 0),
        "loss": last.get("loss"),
        "figures": last.get("figures", {}),
        "params_hash": last.get("params_hash", run["params_hash"]),
        "workers": [],
        "samples_per_second": None,
        "incidents": run.get("incidents", 0),
        "stopped": run.get("stopped", ""),
        "checkpoint_error": run.get("checkpoint_error", ""),
        "resumed_from": run.get("resumed_from"),
        "live": False,
    }
