"""What is known of a run: from its orchestrator if that answers, else from the files of its directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pangea.errors import PangeaError
from pangea.rundir.http_get import get
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, port_file

_TIMEOUT_SECONDS = 3.0
# States in which a run can still take a step.
ACTIVE_STATES = ("waiting", "running")


class StatusUnavailable(PangeaError, RuntimeError):
    """Neither an orchestrator nor a run is where the user pointed to; the message says what was tried."""


def read_status(target: str, base: Path) -> dict[str, Any]:
    """The status of a run.

    Args:
        target: a run directory, or host:port of an orchestrator's HTTP pages.
        base: the folder that a relative directory is meant from.
    Returns:
        the orchestrator's /status with `live` (bool) and, for a directory, `run_dir`; of a run that is not live, the same keys as far as its files tell.
    Raises:
        StatusUnavailable: saying what was tried.
    """
    run_dir = base / target
    if run_dir.is_dir():
        return {**_of_directory(run_dir), "run_dir": str(run_dir)}
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise StatusUnavailable(f"{run_dir} is no directory, and {target} is no address; name a run directory, or host:port of an orchestrator's HTTP pages")
    try:
        return {**_ask(target), "live": True}
    except OSError as error:
        raise StatusUnavailable(
            f"no orchestrator answers at http://{target}/status ({error}); its HTTP address stands in its run directory, in logs/{ORCHESTRATOR}.ports.json"
        ) from error


def _ask(address: str, timeout: float = _TIMEOUT_SECONDS) -> dict[str, Any]:
    return dict(json.loads(get(f"http://{address}/status", timeout)))


def live_status(run_dir: Path, timeout: float = _TIMEOUT_SECONDS) -> dict[str, Any] | None:
    """What the run's orchestrator says; None if it does not answer."""
    ports, record = port_file(run_dir, ORCHESTRATOR), run_dir / "run.json"
    try:
        status = _ask(json.loads(ports.read_text())["http"], timeout)
    except (OSError, ValueError):
        return None
    # Another run's orchestrator may have got the port since.
    return status if not record.exists() or status["run_id"] == json.loads(record.read_text())["run_id"] else None


def _of_directory(run_dir: Path) -> dict[str, Any]:
    if (status := live_status(run_dir)) is not None:
        return {**status, "live": True}
    record = run_dir / "run.json"
    if not record.exists():
        raise StatusUnavailable(f"{run_dir} holds no run (run.json is missing); check the path")
    return _of_files(json.loads(record.read_text()), run_dir)


def _of_files(run: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    metrics = JsonLinesFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    last = metrics.lines[-1] if metrics.lines else {}
    # An orchestrator that was killed could not write that it is gone.
    state = "killed" if run["state"] in ACTIVE_STATES else run["state"]
    return {
        "run_id": run["run_id"],
        "state": state,
        "step": len(metrics.lines),
        "committed": len(metrics.lines),
        "total_steps": run["total_steps"],
        "epoch": last.get("epoch", 0),
        "loss": last.get("loss"),
        "params_hash": last.get("params_hash", run["params_hash"]),
        "workers": [],
        "samples_per_second": None,
        "incidents": run.get("incidents", 0),
        "stopped": run.get("stopped", ""),
        "checkpoint_error": run.get("checkpoint_error", ""),
        "resumed_from": run.get("resumed_from"),
        "live": False,
    }
