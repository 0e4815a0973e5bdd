"""Which GPUs of a machine a worker sees: several for one worker, or one for several workers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pangea.errors import PangeaError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DEVICES = Path("/dev")


class NoGpus(PangeaError, ValueError):
    """The machine has fewer GPUs than the workers need; the message says what to change."""


def of_machine(environment: Mapping[str, str] = os.environ, devices: Path = _DEVICES) -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := environment.get(VISIBLE)) is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return sorted((path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*")), key=int)


def visible(share: float, rank: int, available: Sequence[str] | None = None) -> dict[str, str]:
    """Returns the variable with which a worker sees its GPUs only; nothing if it may see all.

    Args:
        share: GPUs for each worker, a whole number, or the part of one; 0 if all workers see all GPUs.
        rank: the number of the worker on its machine, from 0.
        available: the GPUs of the machine; None if they are not known, and then counted from 0.
    Raises:
        NoGpus: there are too few.
    """
    if share == 0:
        return {}
    count = max(1, round(share))
    # A part such as 0.1 is not exact: ten workers must not need eleven.
    first = rank * count if share >= 1 else int(rank * share + 1e-9)
    wanted = range(first, first + count)
    if available is None:
        return {VISIBLE: ",".join(str(number) for number in wanted)}
    if wanted.stop > len(available):
        have = ", ".join(available) or "none"
        raise NoGpus(
            f"worker {rank + 1} needs GPU {wanted.stop} of this machine, which has {have}; start fewer workers, or give"
            " each a smaller part: --gpus-per-worker 0.5"
        )
    return {VISIBLE: ",".join(available[number] for number in wanted)}
