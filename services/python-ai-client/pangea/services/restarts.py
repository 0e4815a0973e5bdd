"""Decides what the end of a process means, and whether and when it is started again. No clock, no processes: times are given."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

# A worker that ends by one of these was asked to; it died before it could leave the run.
_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ExitStatus(Enum):
    """What became of a process."""

    RUNNING = "running"
    EXITED = "exited"
    FAILED = "failed"
    KILLED = "killed"


def exit_status(exit_code: int | None, is_service: bool) -> ExitStatus:
    """Reads an exit code as `subprocess` gives it: None while it runs, -N after signal N.

    A worker that was asked to stop has left. Nobody asks a service to stop in that way but the launcher, which does not ask here.
    """
    if exit_code is None:
        return ExitStatus.RUNNING
    if exit_code == 0:
        return ExitStatus.EXITED
    if exit_code > 0:
        return ExitStatus.FAILED
    return ExitStatus.EXITED if not is_service and -exit_code in _REQUESTS else ExitStatus.KILLED


@dataclass(frozen=True)
class RestartPolicy:
    """How often, and after which pauses. Only deaths without progress of the run between them count.

    Attributes:
        max_restarts: of one process within `window` without progress; None for no limit.
        window: seconds that a death is remembered. Starting a worker takes seconds (torch), so a shorter one would miss those that die at their start.
        initial_delay: seconds before the start after the second death; doubled with each further one. The first death costs no pause.
        max_delay: seconds.
    """

    max_restarts: int | None = 5
    window: float = 60.0
    initial_delay: float = 0.1
    max_delay: float = 5.0


# For those that kill on purpose.
UNLIMITED_RESTARTS = RestartPolicy(max_restarts=None, initial_delay=0.0, max_delay=0.0)


@dataclass
class RestartBackoff:
    """The deaths of one process since the run's last step.

    Attributes:
        deaths: how many they are.
    """

    policy: RestartPolicy
    _times: deque[float] = field(default_factory=deque)
    _progress: int = -1

    @property
    def deaths(self) -> int:
        return len(self._times)

    def after_death(self, now: float, progress: int) -> float | None:
        """Notes a death.

        Args:
            now: seconds, of any clock that only goes forward.
            progress: steps of the run so far.
        Returns:
            seconds until it is to be started again, or None when it was started again often enough without progress.
        """
        if progress != self._progress:
            self._times.clear()
            self._progress = progress
        self._times.append(now)
        while now - self._times[0] > self.policy.window:
            self._times.popleft()
        if self.policy.max_restarts is not None and self.deaths > self.policy.max_restarts:
            return None
        if self.deaths == 1:
            return 0.0
        return min(self.policy.initial_delay * 2.0 ** min(self.deaths - 2, 16), self.policy.max_delay)
