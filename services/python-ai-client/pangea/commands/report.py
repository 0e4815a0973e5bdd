"""Shows a run on the terminal: its progress, and a summary at its end."""

from __future__ import annotations

import dataclasses
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pangea.commands.terminal import text
from pangea.launch.outcome import Outcome

# The interval of progress lines without a terminal.
_LINE_SECONDS = 5.0


class ProgressDisplay:
    """A progress bar on a terminal; elsewhere a line every few seconds. Used as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[workers]} workers"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("steps", total=None, epoch=0, loss=float("nan"), workers=0)
        self._last_line = time.monotonic()

    def update(self, line: dict[str, Any], total: int) -> None:
        """Shows a new line of metrics.jsonl; `total` is the number of all steps, 0 if unknown."""
        if self._console.is_terminal:
            self._bar.update(
                self._task,
                completed=line["step"] + 1,
                total=total or None,
                epoch=line["epoch"],
                loss=line["loss"],
                workers=line["workers"],
            )
        elif time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(
                f"step {line['step'] + 1} of {total}, epoch {line['epoch']}, loss {line['loss']:.4f}, {line['workers']}"
                " workers"
            )

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


def summary(outcome: Outcome) -> dict[str, Any]:
    """The figures of a run that has finished or was stopped.

    `samples_per_second` is relative to the sum of the steps' durations. `data_share`, `compute_share` and
    `exchange_share` are fractions of the workers' time.
    """
    lines = outcome.metrics
    seconds = sum(line["seconds"] for line in lines)
    parts = {name: sum(line[f"{name}_seconds"] or 0.0 for line in lines) for name in ("data", "compute", "exchange")}
    total = sum(parts.values()) or 1.0
    return {
        "run_dir": str(outcome.run_dir),
        "state": outcome.run.get("state"),
        "held_out_accuracy": outcome.result.get("held_out_accuracy"),
        "loss": lines[-1]["loss"] if lines else None,
        "steps": len(lines),
        "params_hash": outcome.run.get("params_hash"),
        "training_seconds": seconds,
        "wall_seconds": outcome.seconds,
        "samples_per_second": sum(line["samples"] for line in lines) / seconds if seconds else None,
        **{f"{name}_share": part / total for name, part in parts.items()},
        "failed_workers": outcome.failed_workers,
        "restarts": outcome.restarts,
        "stopped": outcome.stopped,
        "incidents": [dataclasses.asdict(incident) for incident in outcome.incidents],
        "checkpoint_error": str(outcome.run.get("checkpoint_error") or ""),
        "resumed_from": outcome.run.get("resumed_from"),
    }


def print_table(console: Console, figures: dict[str, Any]) -> None:
    """Prints the summary as a table."""
    table = Table(show_header=False, title=text(f"Run {figures['state'] or 'not begun'}"))
    accuracy, loss, rate = figures["held_out_accuracy"], figures["loss"], figures["samples_per_second"]
    shares = ", ".join(f"{name} {figures[f'{name}_share']:.0%}" for name in ("data", "compute", "exchange"))
    rows = [
        ("held-out accuracy", "not reported by the script" if accuracy is None else f"{accuracy:.2%}"),
        ("loss of the last step", "none" if loss is None else f"{loss:.4f}"),
        ("steps", str(figures["steps"])),
        ("samples per second", "none" if rate is None else f"{rate:,.0f}"),
        ("time of the workers", shares),
        ("training / wall time", f"{figures['training_seconds']:.1f} s / {figures['wall_seconds']:.1f} s"),
        ("params_hash", str(figures["params_hash"])),
        ("run directory", figures["run_dir"]),
    ]
    if restarts := figures["restarts"]:
        names = (f"{name} {count} times" if count > 1 else name for name, count in restarts.items())
        rows.insert(-1, ("restarts", ", ".join(names)))
    if figures["stopped"]:
        rows.insert(0, ("stopped", figures["stopped"]))
    if incidents := figures["incidents"]:
        resolved = sum(incident["resolved"] for incident in incidents)
        rows.insert(-1, ("incidents", f"{len(incidents)}, of which {resolved} resolved"))
    for name, value in rows:
        table.add_row(name, text(value))
    console.print(table, soft_wrap=not console.is_terminal)
