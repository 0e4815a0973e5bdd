"""What both programs that add up gradients share: their processes begin each exchange together, and report how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from tools.bench.programs import job as jobs


def timed(job: dict[str, Any], prepare: Callable[[int], None], exchange: Callable[[int], torch.Tensor]) -> None:
    """Adds up a gradient `times` times, and answers with the seconds of each exchange after the `warm_up`.

    Args:
        prepare: called before each exchange; not timed.
        exchange: returns the sum.
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
