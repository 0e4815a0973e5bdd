"""Processor time of this and of other processes, to the microsecond: user and system, of all threads, also of those
that have ended."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable

_LIBC = ctypes.CDLL(None)


class ProcessGone(RuntimeError):
    """There is no such process, so its time cannot be told."""


def used(processes: Iterable[int]) -> float:
    """Seconds of one core that these processes have used since they started.

    Raises:
        ProcessGone: one of them has ended.
    """
    return sum(_used(process) for process in processes)


def own() -> float:
    """Seconds of one core that this process has used since it started."""
    return time.process_time()


def _used(process: int) -> float:
    # /proc and getrusage count in ticks of 10 ms, as long as some steps are.
    clock = ctypes.c_int()
    error = _LIBC.clock_getcpuclockid(process, ctypes.byref(clock))
    if error:
        raise ProcessGone(f"the processor time of process {process} cannot be read: {os.strerror(error)}")
    return time.clock_gettime(clock.value)
