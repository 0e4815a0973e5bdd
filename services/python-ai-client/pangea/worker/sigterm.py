"""SIGTERM and SIGHUP in a worker: recorded, and raised as an exception only while the worker waits for a service."""

from __future__ import annotations

import signal
import types
from collections.abc import Callable
from typing import ClassVar

_TO_END = (signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """The process was asked to stop (SIGTERM, SIGHUP) while it waited; not for the handlers of other errors."""


class Sigterm:
    """Handles SIGTERM and SIGHUP from its construction until `restore`, so that they do not end the process.

    SIGUSR1, which requests a checkpoint from the launcher, is ignored, unless it has a handler already.

    Attributes:
        caught: the last signal that any instance in this process received; 0 for none. `pangea worker` derives its exit
            code from it.
        requested: whether this instance has received a signal.
        may_raise: called when a signal arrives; returns whether the handler may raise `Stopped`.
    """

    caught: ClassVar[int] = 0

    def __init__(self, may_raise: Callable[[], bool]) -> None:
        self.requested, self.may_raise = False, may_raise
        # An ignored signal stays ignored, such as SIGHUP under nohup.
        ours = [number for number in _TO_END if signal.getsignal(number) is not signal.SIG_IGN]
        self._previous = {number: signal.signal(number, self._on) for number in ours}
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def _on(self, number: int, _frame: types.FrameType | None) -> None:
        self.requested, Sigterm.caught = True, number
        if self.may_raise():
            raise Stopped

    def restore(self) -> None:
        """Restores the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


class Waiting:
    """A context for code that only waits for a service and changes no state, so that a signal handler may raise in it.

    Attributes:
        now: whether such code runs now.
    """

    def __init__(self) -> None:
        self.now = False

    def __enter__(self) -> None:
        self.now = True

    def __exit__(self, *_: object) -> None:
        self.now = False
