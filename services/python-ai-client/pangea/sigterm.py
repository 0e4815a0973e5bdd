"""SIGTERM to a worker: remembered, and raised only where nothing but a service is waited for."""

from __future__ import annotations

import signal
import types
from collections.abc import Callable
from typing import ClassVar


class Stopped(Exception):
    """The process was asked to stop (SIGTERM) while it waited."""


class Sigterm:
    """From its making until `restore` SIGTERM does not end the process.

    Attributes:
        caught: whether it came to any of these in this process, which then ends as its script says: `pangea worker` looks here for its exit code.
        asked: whether it came.
        raises: asked when it comes; whether the handler may raise `Stopped` there.
    """

    caught: ClassVar[bool] = False

    def __init__(self, raises: Callable[[], bool]) -> None:
        self.asked, self.raises = False, raises
        self._previous = signal.signal(signal.SIGTERM, self._on)
        self._ours = True

    def _on(self, _signal: int, _frame: types.FrameType | None) -> None:
        self.asked = Sigterm.caught = True
        if self.raises():
            raise Stopped

    def restore(self) -> None:
        """Puts the handler from before back."""
        if self._ours:
            self._ours = False
            signal.signal(signal.SIGTERM, self._previous)
