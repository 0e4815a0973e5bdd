"""Turns signals into requests: SIGTERM, SIGHUP and Ctrl-C stop the run, SIGUSR1 takes a checkpoint.

A second stop signal interrupts the process instead.
"""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class StopRequest:
    """What signals have requested of this process.

    Attributes:
        stop_signal: the first signal that asked it to stop; None if none did.
        checkpoint: whether a checkpoint was requested and not yet taken.
    """

    stop_signal: signal.Signals | None = None
    checkpoint: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code that a shell would report: 128 plus the signal's number; 0 without a stop signal."""
        return 128 + self.stop_signal if self.stop_signal is not None else 0

    def pop_checkpoint(self) -> bool:
        """Returns whether a checkpoint was requested since the last call, and clears the request."""
        requested, self.checkpoint = self.checkpoint, False
        return requested


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Records signals in the yielded request; a second stop signal raises KeyboardInterrupt. For the main thread only.

    A signal that this process inherited as ignored, such as SIGHUP under nohup, stays ignored.
    """
    request = StopRequest()

    def on_stop(number: int, _frame: types.FrameType | None) -> None:
        if request.stop_signal is not None:
            raise KeyboardInterrupt
        request.stop_signal = signal.Signals(number)

    def on_checkpoint(_number: int, _frame: types.FrameType | None) -> None:
        request.checkpoint = True

    handlers = {
        **{number: on_stop for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN},
        signal.SIGUSR1: on_checkpoint,
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
