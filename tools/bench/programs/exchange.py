"""What the programs that add up gradients share: their processes begin each exchange together, and report how long it
took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy

from tools.bench.programs import cores
from tools.bench.programs import job as jobs
from tools.bench.programs.barrier import Barrier

Vector = numpy.ndarray[tuple[int], numpy.dtype[numpy.float32]]


def timed(
    job: dict[str, Any],
    barrier: Barrier,
    prepare: Callable[[int], None],
    exchange: Callable[[int], Vector],
    **settings: str,
) -> None:
    """Adds up a gradient `times` times, and answers with the seconds of each exchange after the `warm_up`.

    Args:
        barrier: that all processes of the job share.
        prepare: called before each exchange; not timed.
        exchange: returns the sum.
        settings: for the report.
    """
    warm_up, services = job["warm_up"], job.get("services", {}) if job["rank"] == 0 else {}
    seconds, own, before, mean = [], [], {}, 0.0
    for number in range(job["times"]):
        if number == warm_up:
            before = {name: cores.used([process]) for name, process in services.items()}
        prepare(number)
        barrier.wait()
        began, started = cores.own(), time.perf_counter()
        total = exchange(number)
        seconds.append(time.perf_counter() - started)
        own.append(cores.own() - began)
        barrier.wait()
        mean = float(total.mean(dtype=numpy.float64))
    after = {name: cores.used([process]) for name, process in services.items()}
    count = job["times"] - warm_up
    used = {
        "workers": sum(own[warm_up:]) / count,
        **{name: (after[name] - before[name]) / count for name in services},
    }
    jobs.answer(job, seconds=seconds[warm_up:], mean=mean, cores=used, settings=settings)
