"""A process that computes nothing: it adds up a gradient with Gloo's all_reduce."""

import torch

from tools.bench.programs import job as jobs
from tools.bench.programs import torch_process
from tools.bench.programs.barrier import Barrier
from tools.bench.programs.exchange import Vector, timed


def main() -> None:
    """Adds in place, as DistributedDataParallel does."""
    job = jobs.read()
    torch_process.use_one_thread()
    torch_process.join_gloo(job)
    gradient = torch.empty(job["elements"])
    whole: Vector = gradient.numpy()  # the same memory

    def prepare(_number: int) -> None:
        gradient.fill_(float(job["rank"] + 1))

    def exchange(_number: int) -> Vector:
        torch.distributed.all_reduce(gradient)
        return whole

    timed(job, Barrier(job), prepare, exchange, transport="TCP over loopback")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
