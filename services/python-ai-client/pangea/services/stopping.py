"""Signals as requests that are granted in order: SIGTERM, SIGHUP and Ctrl-C end the run, SIGUSR1 takes a checkpoint. A second request to end insists."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class StopRequest:
    """What the process was asked for.

    Attributes:
        stop_signal: the signal that asked it to end; None if none did.
        checkpoint: whether a checkpoint is wanted now.
    """

    stop_signal: signal.Signals | None = None
    checkpoint: bool = False

    @property
    def exit_code(self) -> int:
        """As a shell counts it: 128 and the signal's number."""
        return 128 + self.stop_signal if self.stop_signal is not None else 0

    def pop_checkpoint(self) -> bool:
        """Whether a checkpoint is wanted, once for each time that it was asked for."""
        wanted, self.checkpoint = self.checkpoint, False
        return wanted


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Within it, the first request to end is noted, and a further one raises KeyboardInterrupt. For the main thread.

    What the caller has made this process ignore, as nohup does with SIGHUP, stays ignored.
    """
    request = StopRequest()

    def on_end(number: int, _frame: types.FrameType | None) -> None:
        if request.stop_signal is not None:
            raise KeyboardInterrupt
        request.stop_signal = signal.Signals(number)

    def on_checkpoint(_number: int, _frame: types.FrameType | None) -> None:
        request.checkpoint = True

    handlers = {**{number: on_end for number in _TO_END if signal.getsignal(number) is not signal.SIG_IGN}, signal.SIGUSR1: on_checkpoint}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
