"""Writes a run's figures to an event file of TensorBoard, each step once."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from pangea.errors import PangeaError
from pangea.foreign import read_object
from pangea.rundir.json_lines import JsonLinesFile

# Named by us and not by the time, so that a second conversion replaces the first.
EVENT_FILE = "events.out.tfevents.0.pangea"
# Columns of metrics.jsonl, with the tags that TensorBoard shows; figures of the script keep their names.
_TAGS = {
    "loss": "loss",
    "epoch": "run/epoch",
    "samples": "run/samples",
    "seconds": "run/seconds",
    "workers": "run/workers",
    "data_seconds": "run/data_seconds",
    "compute_seconds": "run/compute_seconds",
    "exchange_seconds": "run/exchange_seconds",
}
# What result.json has beside the figures of the script.
_FACTS = ("steps", "params_hash", "incidents", "stopped")


class TensorBoardMissing(PangeaError, ImportError):
    """The package tensorboard is not installed."""


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TensorBoardMissing(
            f"pangea tensorboard needs the package tensorboard ({error}); install it: pip install 'pangea[tensorboard]'"
        ) from error


def require_tensorboard() -> None:
    """Raises TensorBoardMissing if there is nothing to write event files with."""
    _import("tensorboard.summary.writer.record_writer")


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns what a line of metrics.jsonl has to show, by tag; without what is not a finite number."""
    values = {tag: line.get(column) for column, tag in _TAGS.items()} | dict(line.get("figures") or {})
    return {
        tag: float(value)
        for tag, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


class EventFile:
    """An event file that is written step by step.

    Args:
        stream: to write to; the caller closes it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._event = _import("tensorboard.compat.proto.event_pb2").Event
        self._summary = _import("tensorboard.compat.proto.summary_pb2").Summary
        self._records = _import("tensorboard.summary.writer.record_writer").RecordWriter(stream)
        self._write(self._event(file_version="brain.Event:2"))

    def add(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """Adds the scalars of a step, by tag, at a time in seconds since 1970."""
        summary = self._summary(
            value=[self._summary.Value(tag=tag, simple_value=value) for tag, value in sorted(values.items())]
        )
        self._write(self._event(step=step, wall_time=time, summary=summary))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


class Converter:
    """Converts the steps that a run directory has, and continues as it grows.

    Args:
        run_dir: the run directory.
        events: the file to write to.
    """

    def __init__(self, run_dir: Path, events: EventFile) -> None:
        self._run_dir, self._events = run_dir, events
        self._metrics = JsonLinesFile(run_dir / "metrics.jsonl")
        self._ended = False

    def convert(self) -> int:
        """Adds the steps that are new, and the results once they are there. Returns the number of all steps."""
        for line in self._metrics.read_new():
            # A step that was computed again is committed once, and so has one line.
            self._events.add(line["step"], _time(line), scalars(line))
        lines = self._metrics.lines
        if not self._ended and (results := _results(self._run_dir)) is not None and results["steps"] == len(lines):
            self._ended = True
            figures = {name: value for name, value in results.items() if name not in _FACTS}
            self._events.add(len(lines), _time(lines[-1]) if lines else 0.0, scalars({"figures": figures}))
        return len(lines)


def _time(line: Mapping[str, Any]) -> float:
    """When a step was committed, in seconds since 1970; 0 in metrics of earlier releases."""
    return datetime.fromisoformat(line["time"]).timestamp() if "time" in line else 0.0


def _results(run_dir: Path) -> dict[str, Any] | None:
    """The content of result.json; None while the run has not ended."""
    try:
        return read_object(run_dir / "result.json")
    except FileNotFoundError:
        return None
