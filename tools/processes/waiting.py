"""Waits for something to happen, not for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
# A condition that does not come true within this time is a failure, not a slow machine.
PATIENCE_SECONDS = 120.0
_TICK_SECONDS = 0.02


def eventually(condition: Callable[[], Found | None], what: str, patience_seconds: float = PATIENCE_SECONDS) -> Found:
    """Looks at `condition` until it gives something true, and gives that. What it raises ends the wait.

    Args:
        what: is waited for, in words.
    Raises:
        TimeoutError: nothing true came; the message says what was waited for.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_seconds:.0f} s in vain: {what}")
        time.sleep(_TICK_SECONDS)
