"""Waits for a condition instead of a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
# A condition that is not met within this time is a failure, not a slow machine.
PATIENCE_SECONDS = 120.0
_TICK_SECONDS = 0.02


def eventually(condition: Callable[[], Found | None], what: str, patience_seconds: float = PATIENCE_SECONDS) -> Found:
    """Polls `condition` until its result is true, and returns that result. An exception of the condition ends the wait.

    Args:
        condition: to poll.
        what: the condition in words, for the error.
        patience_seconds: until it has to be met.
    Raises:
        TimeoutError: the condition was not met in time; the message has `what`.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_seconds:.0f} s in vain: {what}")
        time.sleep(_TICK_SECONDS)
