"""Reads the logs of a run's services, one JSON object per line, for errors and repeated work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pangea.foreign import decode_json

# What go-orchestrator names as the `event` of a log line, for programs; its message is for people and may change.
WORKER_JOINED = "worker_joined"
WORKER_GONE = "worker_gone"
CHECKPOINT_REFUSED = "checkpoint_refused"


@dataclass
class ServiceLogs:
    """What the logs of one run contain.

    Attributes:
        errors: lines of level ERROR and lines that are not JSON, each with its file.
        checkpoints_refused: how often a checkpoint could not be used.
        steps_again: steps that had to be recomputed, over all starts.
    """

    errors: list[str] = field(default_factory=list)
    checkpoints_refused: int = 0
    steps_again: int = 0


def read_service_logs(run_dir: Path) -> ServiceLogs:
    """Reads the logs of go-orchestrator and of all replicas of rust-compute."""
    found = ServiceLogs()
    for file in sorted(
        [*(run_dir / "logs").glob("go-orchestrator.log"), *(run_dir / "logs").glob("rust-compute*.log")]
    ):
        for line, entry in log_entries(file):
            if entry.get("level", "ERROR") == "ERROR":
                found.errors.append(f"{file.name}: {line}")
            found.checkpoints_refused += entry.get("event") == CHECKPOINT_REFUSED
            found.steps_again += int(entry.get("steps_again", 0))
    return found


def log_entries(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each line of a service's log with its JSON object; an empty one for a line that is not JSON."""
    for line in file.read_text(errors="replace").splitlines():
        try:
            entry: Any = decode_json(line.encode())
        except ValueError:
            entry = None
        yield line, entry if isinstance(entry, dict) else {}
