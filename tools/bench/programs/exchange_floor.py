"""The least that an exchange through memory can cost: one thread copies the gradient of each worker to where it is
shared, and adds the copies up. Nothing is sent, hashed or recorded."""

from __future__ import annotations

import numpy

from tools.bench.programs import job as jobs
from tools.bench.programs.barrier import Barrier
from tools.bench.programs.exchange import Vector, timed


def main() -> None:
    """Does the work of as many `workers` as the job names, at least two, in one process."""
    job = jobs.read()
    own = [numpy.empty(job["elements"], numpy.float32) for _ in range(job["workers"])]
    shared, total = [numpy.zeros_like(gradient) for gradient in own], numpy.zeros_like(own[0])

    def prepare(_number: int) -> None:
        for number, gradient in enumerate(own, start=1):
            gradient.fill(number)

    def exchange(_number: int) -> Vector:
        for gradient, copy in zip(own, shared, strict=True):
            numpy.copyto(copy, gradient)
        numpy.add(shared[0], shared[1], out=total)
        for copy in shared[2:]:
            numpy.add(total, copy, out=total)
        return total

    timed(job, Barrier(job), prepare, exchange, transport="none")


if __name__ == "__main__":
    main()
