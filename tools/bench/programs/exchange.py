"""What both programs that add up gradients share: they begin each time together, and tell how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from tools.bench.programs import job as jobs


def timed(job: dict[str, Any], prepare: Callable[[int], None], exchange: Callable[[int], torch.Tensor]) -> None:
    """Adds up a gradient `times` times, and answers with the seconds of each time after the `warm_up`.

    Args:
        prepare: is called before each time; not timed.
        exchange: gives the sum.
    """
    seconds, mean = [], 0.0
    for number in range(job["times"]):
        prepare(number)
        torch.distributed.barrier()
        started = time.perf_counter()
        total = exchange(number)
        seconds.append(time.perf_counter() - started)
        mean = float(total.double().mean())
    torch.distributed.destroy_process_group()
    jobs.answer(job, seconds=seconds[job["warm_up"] :], mean=mean)
