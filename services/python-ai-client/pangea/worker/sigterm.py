"""SIGTERM and SIGHUP to a worker: remembered, and raised only where nothing but a service is waited for. SIGUSR1 is not for workers."""

from __future__ import annotations

import signal
import types
from collections.abc import Callable
from typing import ClassVar

_TO_END = (signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The process was asked to stop (SIGTERM, SIGHUP) while it waited."""


class Sigterm:
    """From its making until `restore` SIGTERM and SIGHUP do not end the process. SIGUSR1, which asks a run for a checkpoint, is ignored unless somebody has a handler for it.

    Attributes:
        caught: the signal that came to any of these in this process, which then ends as its script says; 0 for none. `pangea worker` looks here for its exit code.
        requested: whether one came.
        may_raise: asked when it comes; whether the handler may raise `Stopped` there.
    """

    caught: ClassVar[int] = 0

    def __init__(self, may_raise: Callable[[], bool]) -> None:
        self.requested, self.may_raise = False, may_raise
        # What is ignored, as SIGHUP is below nohup, stays ignored.
        ours = [number for number in _TO_END if signal.getsignal(number) is not signal.SIG_IGN]
        self._previous = {number: signal.signal(number, self._on) for number in ours}
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def _on(self, number: int, _frame: types.FrameType | None) -> None:
        self.requested, Sigterm.caught = True, number
        if self.may_raise():
            raise Stopped

    def restore(self) -> None:
        """Puts the handlers from before back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
