"""Decides what an exit code means, and whether and when a process is restarted.

Not here: processes and clocks. Times are arguments.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

# A worker that dies of one of these was asked to stop, before it had a handler that leaves the run.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ExitStatus(Enum):
    """The state of a process.

    Attributes:
        EXITED: it exited without an error, or because it was asked to stop.
        FAILED: it exited with an error, which restarting would repeat.
        KILLED: a signal killed it; it is restarted.
    """

    RUNNING = "running"
    EXITED = "exited"
    FAILED = "failed"
    KILLED = "killed"


def exit_status(exit_code: int | None, is_service: bool) -> ExitStatus:
    """The meaning of an exit code of `subprocess`: None while the process runs, -N after signal N.

    For a worker, SIGTERM is a request to stop. A service is stopped only by the launcher, which does not call this
    then; so here a signal means that it was killed.
    """
    if exit_code is None:
        return ExitStatus.RUNNING
    if exit_code == 0:
        return ExitStatus.EXITED
    if exit_code > 0:
        return ExitStatus.FAILED
    return ExitStatus.EXITED if not is_service and -exit_code in _STOP_SIGNALS else ExitStatus.KILLED


@dataclass(frozen=True)
class RestartPolicy:
    """How often a process is restarted, and after which delays.

    Only deaths without progress of the run between them count.

    Attributes:
        max_restarts: of one process within `window` without progress; None for no limit.
        window: seconds for which a death counts. Importing torch takes seconds, so a short window would miss a worker
            that crashes at startup.
        initial_delay: seconds before the restart after the second death, doubled with each further one. The first
            restart is immediate.
        max_delay: seconds.
    """

    max_restarts: int | None = 5
    window: float = 60.0
    initial_delay: float = 0.1
    max_delay: float = 5.0


# For callers that kill processes on purpose.
UNLIMITED_RESTARTS = RestartPolicy(max_restarts=None, initial_delay=0.0, max_delay=0.0)


@dataclass
class RestartBackoff:
    """Counts the deaths of one process since the run's last step, and delays its restarts."""

    policy: RestartPolicy
    _times: deque[float] = field(default_factory=deque)
    _progress: int = -1

    @property
    def deaths(self) -> int:
        """How many deaths count."""
        return len(self._times)

    def after_death(self, now: float, progress: int) -> float | None:
        """Records a death.

        Args:
            now: seconds of any monotonic clock.
            progress: steps of the run so far.
        Returns:
            seconds until the restart; None if `max_restarts` is reached: a crash loop.
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
