"""What a launched run came out as, and who is told of it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.launch.incidents import Incident


@dataclass(frozen=True)
class Outcome:
    """A run that has ended or was stopped: the files of its directory, read.

    Attributes:
        run, result: run.json and result.json; empty if they are not there.
        metrics: the lines of metrics.jsonl.
        seconds: of this start, services and workers included; 0 if there was nothing left to do.
        failed_workers: names of those that ended with an error.
        restarts: how often a process was started again, by its name.
        incidents: all of the ledger.
    """

    run_dir: Path
    run: dict[str, Any]
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    seconds: float
    failed_workers: list[str]
    restarts: dict[str, int]
    incidents: list[Incident]

    @property
    def finished(self) -> bool:
        """Whether all steps of the run are done, or it was stopped early in order."""
        return self.run.get("state") == "finished"

    @property
    def stopped(self) -> str:
        """Why the run ended before all of its steps, if it ended itself."""
        return str(self.run.get("stopped") or "")

    @property
    def unresolved(self) -> list[Incident]:
        """Different bits that nobody could settle."""
        return [incident for incident in self.incidents if not incident.resolved]


@dataclass(frozen=True)
class Listeners:
    """Who is told of the run: each new line of metrics.jsonl with the number of all steps, and sentences about what happens."""

    on_progress: Callable[[dict[str, Any], int], None]
    on_event: Callable[[str], None]
