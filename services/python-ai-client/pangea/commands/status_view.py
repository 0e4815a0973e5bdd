"""Shows the status of a run as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from pangea.commands.terminal import text


def view(status: dict[str, Any]) -> Group:
    """Two tables: one of the run, and one of its workers if there are any."""
    run = Table(show_header=False, title=text(f"Run {status['run_id']}"))
    loss, rate = status["loss"], status["samples_per_second"]
    rows = [
        ("state", _state(status)),
        ("steps", f"{status['committed']} of {status['total_steps'] or 'unknown'}"),
        ("epoch", str(status["epoch"])),
        ("loss", "none" if loss is None else f"{loss:.4f}"),
        *((name, "none" if value is None else f"{value:.4g}") for name, value in sorted(_figures(status).items())),
        ("samples per second", "none" if not rate else f"{rate:,.0f}"),
        ("params_hash", status["params_hash"] or "none"),
        *_warnings(status),
    ]
    for name, value in rows:
        run.add_row(name, text(value))
    if not status["workers"]:
        return Group(run)
    workers = Table(title="Workers")
    for column in ("name", "pid", "step", "shards", ""):
        workers.add_column(column)
    for worker in status["workers"]:
        workers.add_row(
            text(worker["name"]),
            text(worker["pid"]),
            text(worker["step"]),
            text(", ".join(map(str, worker["shards"])) or "-"),
            "silent" if worker["silent"] else "",
        )
    return Group(run, workers)


def _figures(status: dict[str, Any]) -> dict[str, float | None]:
    """What the script logged in the last step; missing in the status of earlier releases, null where nothing is."""
    return status.get("figures") or {}


def _warnings(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows that appear only if they apply; their keys are missing in the status of earlier releases."""
    rows = [
        ("stopped", status.get("stopped")),
        ("checkpoints", status.get("checkpoint_error") and f"cannot be written: {status['checkpoint_error']}"),
    ]
    if incidents := status.get("incidents"):
        where = status.get("run_dir", "RUN_DIR")
        rows.append(("incidents", f"{incidents}; see pangea audit {where}"))
    if resumed := status.get("resumed_from"):
        rows.append(("resumed from", f"step {resumed['step']}, {resumed['steps_again']} steps computed again"))
    return [(name, str(text)) for name, text in rows if text]


def _state(status: dict[str, Any]) -> str:
    state = str(status["state"])
    if status.get("replaying"):
        return f"{state}, recomputing step {status['step']}"
    if not status["live"] and state != "finished":
        return f"{state}; resume it with: pangea train --resume {status['run_dir']}"
    return state
