"""When to retry after the connection to a service is lost, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pangea._native import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS

# Not the global generator: that one is seeded for each shard, identically on all workers.
_random = random.Random()


class Backoff:
    """Pauses between attempts: they double from 20 ms to 1 s, each shortened by up to half at random.

    The jitter keeps workers from reconnecting all at the same time. The time without a connection accumulates until
    `progressed`; when it exceeds the limit, no more attempts are made.

    Args:
        limit: seconds without a connection after which `pause` returns false.
        clock, now, sleep, uniform: monotonic time and time of day (both in seconds), sleeping, and random numbers.
    """

    def __init__(
        self,
        limit: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = _random.uniform,
    ) -> None:
        self.limit = limit
        self._clock, self._now, self._sleep, self._uniform = clock, now, sleep, uniform
        self.progressed()

    def progressed(self) -> None:
        """Resets the accumulated time, because the connection led to progress: the next outage is a new one."""
        self._pause = FIRST_PAUSE_SECONDS
        self._outage_started: float | None = None
        self._earlier_outages = 0.0  # seconds of earlier outages without progress in between
        self._since = ""

    def connected(self) -> None:
        """Stops the clock of the current outage, because the connection is restored."""
        if self._outage_started is not None:
            self._earlier_outages += self._clock() - self._outage_started
            self._outage_started = None

    @property
    def remaining(self) -> float:
        """Remaining seconds until the limit."""
        current = self._clock() - self._outage_started if self._outage_started is not None else 0.0
        return self.limit - self._earlier_outages - current

    @property
    def since(self) -> str:
        """When the connection was lost, as UTC time; empty if it was not."""
        return self._since

    def pause(self, at_least: float = 0.0) -> bool:
        """Waits before the next attempt.

        Args:
            at_least: seconds that the service asked to wait.
        Returns:
            whether to make another attempt; false, without waiting, if the limit is reached.
        """
        if self._outage_started is None:
            self._outage_started = self._clock()
            self._since = self._since or datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
        if self.remaining <= 0:
            return False
        wait = max(at_least, self._uniform(self._pause / 2, self._pause))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._sleep(min(wait, self.remaining))
        return True
