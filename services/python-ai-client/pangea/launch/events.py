"""Events of a run that its user should see, each as one message.

These are notices of workers, incidents, failed checkpoints, and the point from which a run resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea.identity.pages import of_run
from pangea.launch.incidents import read_incidents
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import read_record
from pangea.rundir.status import StatusUnavailable, live_status

# The interval at which files are read and the orchestrator is queried.
_POLL_SECONDS = 0.5
_STATUS_TIMEOUT_SECONDS = 0.5
# How many incidents are reported one by one; the summary at the end counts them all.
_MAX_INCIDENTS = 5

Status = dict[str, Any]


def current_status(run_dir: Path) -> Status:
    """The status from the orchestrator, else the content of run.json; empty if there is neither."""
    try:
        status = live_status(run_dir, _STATUS_TIMEOUT_SECONDS, of_run(run_dir, None))
    except StatusUnavailable:
        status = None
    return status if status is not None else read_record(run_dir)


class RunEvents:
    """Collects the events of one start of a run.

    Create it before the start: events of earlier starts are not reported again.
    """

    def __init__(
        self,
        run_dir: Path,
        status: Callable[[Path], Status] = current_status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        run_dir: the run directory.
        status: returns the run's status.
        clock: monotonic seconds.
        """
        self._run_dir, self._status, self._clock = run_dir, status, clock
        self._notices: dict[Path, JsonLinesFile] = {}
        self._reported: set[str] = set()
        self._incidents = int(read_record(run_dir).get("incidents", 0))
        self._checkpoint_error = ""
        self._resumed = False
        self._next_poll = 0.0
        self._new_notices()

    def poll(self, now: bool = False) -> list[str]:
        """Returns the new events.

        Cheap to call often: files and status are read only after `_POLL_SECONDS`, or when `now` is true.
        """
        if not now and self._clock() < self._next_poll:
            return []
        self._next_poll = self._clock() + _POLL_SECONDS
        status = self._status(self._run_dir)
        return [
            *self._resumed_from(status),
            *self._new_notices(),
            *self._new_incidents(status),
            *self._checkpoints(status),
        ]

    def _new_notices(self) -> list[str]:
        """New notices of all workers; a text that several workers have is reported once."""
        found = []
        for file in sorted((self._run_dir / "logs").glob("*.notices.jsonl")):
            for notice in self._notices.setdefault(file, JsonLinesFile(file)).read_new():
                said = str(notice.get("text"))
                if said not in self._reported:
                    self._reported.add(said)
                    found.append(f"{notice.get('worker')}: {said}")
        return found

    def _new_incidents(self, status: Status) -> list[str]:
        if status.get("incidents", 0) <= self._incidents:
            return []
        incidents = read_incidents(self._run_dir)
        first, self._incidents = self._incidents, max(self._incidents, len(incidents))
        lines = [f"incident: {incident}" for incident in incidents[first:_MAX_INCIDENTS]]
        if first < _MAX_INCIDENTS < len(incidents):
            lines.append(f"there are more incidents; see pangea audit {self._run_dir}")
        return lines

    def _checkpoints(self, status: Status) -> list[str]:
        error = str(status.get("checkpoint_error") or "")
        if error == self._checkpoint_error:
            return []
        self._checkpoint_error = error
        if not error:
            return ["checkpoints are written again"]
        return [
            f"warning: a checkpoint could not be written: {error}. The run continues, and tries again with the next one"
        ]

    def _resumed_from(self, status: Status) -> list[str]:
        found = status.get("resumed_from")
        if self._resumed or not found:
            return []
        self._resumed = True
        again = found["steps_again"]
        source = f"from {found['file']} (step {found['step']})" if found["file"] else f"from step {found['step']}"
        return [
            f"the run resumes {source}; {again or 'no'} step{'' if again == 1 else 's'} {'is' if again == 1 else 'are'}"
            " computed again"
        ]
