"""The outcome of a launched run, and the callbacks that follow it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.launch.incidents import Incident


@dataclass(frozen=True)
class Outcome:
    """A run that has finished or was stopped, as read from its files.

    Attributes:
        run_dir: the run directory.
        run, result: run.json and result.json; empty if they do not exist.
        metrics: the lines of metrics.jsonl.
        seconds: duration of this start, including the startup of services and workers; 0 if there was nothing left to
            do.
        failed_workers: names of the workers that failed.
        restarts: how often each process was restarted, by its name.
        incidents: those in the ledger.
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
        """Whether the run is complete: all its steps, or those up to where the script stopped it."""
        return self.run.get("state") == "finished"

    @property
    def stopped(self) -> str:
        """The reason why the run ended early, given by the script or the orchestrator; "" if it did not."""
        return str(self.run.get("stopped") or "")

    @property
    def unresolved(self) -> list[Incident]:
        """The incidents after which the same bits are not guaranteed."""
        return [incident for incident in self.incidents if not incident.resolved]


@dataclass(frozen=True)
class Listeners:
    """Callbacks of a run.

    Attributes:
        on_progress: called with each new line of metrics.jsonl and the total number of steps.
        on_event: called with a message for each event.
    """

    on_progress: Callable[[dict[str, Any], int], None]
    on_event: Callable[[str], None]
