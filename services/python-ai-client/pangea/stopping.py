"""SIGTERM and Ctrl-C as a wish that is granted in order; a second one insists."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StopWish:
    """Whether the process was asked to stop, and by which signal."""

    asked: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """As a shell counts it: 128 and the signal's number."""
        return 128 + self.asked if self.asked is not None else 0


@contextmanager
def listening() -> Iterator[StopWish]:
    """Within it, the first SIGTERM or SIGINT is noted; a further one raises KeyboardInterrupt. For the main thread."""
    wish = StopWish()

    def on_signal(number: int, _frame: types.FrameType | None) -> None:
        if wish.asked is not None:
            raise KeyboardInterrupt
        wish.asked = signal.Signals(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
