"""One process of DistributedDataParallel over NCCL; prints the median of the seconds of a step.

It computes its part of a batch in BENCH_MICRO_BATCHES parts, and adds up their gradients.

Its batches are in the memory of the device before it begins: it has no data to load. The settings of CUDA are those of
a run, so both compute with the same kernels.
"""

import contextlib
import json
import os
import statistics
import time

import torch

import pangea
from tools.bench.models import RECIPES

WARM_UP = 20


def batch(model: str, samples: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns random samples in the shape of the model's dataset."""
    if model == "characters":
        tokens = torch.randint(0, 100, (samples, 65), device=device)
        return tokens[:, :-1], tokens[:, 1:]
    return torch.randn(samples, 1, 8, 8, device=device), torch.randint(0, 10, (samples,), device=device)


def main() -> None:
    """Trains BENCH_STEPS steps."""
    model_name, rank, world = os.environ["BENCH_MODEL"], int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    kind = os.environ["BENCH_DEVICE"]
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    pangea.seed_everything()
    torch.distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    recipe = RECIPES[model_name]
    model = torch.nn.parallel.DistributedDataParallel(recipe.model().to(device))
    optimizer = recipe.optimizer(model)
    x, y = batch(model_name, int(os.environ["BENCH_BATCH_SIZE"]) // world, device)
    micro_batches = int(os.environ["BENCH_MICRO_BATCHES"])
    seconds = []
    parts = list(zip(x.chunk(micro_batches), y.chunk(micro_batches), strict=True))
    for _ in range(int(os.environ["BENCH_STEPS"])):
        started = time.perf_counter()
        optimizer.zero_grad()
        for number, (part, labels) in enumerate(parts):
            # Gradients are exchanged with the last one.
            with contextlib.nullcontext() if number + 1 == len(parts) else model.no_sync():
                loss = recipe.loss(model, part, labels)
                (loss / len(parts)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for the device, as the script of a run does that prints its loss
        seconds.append(time.perf_counter() - started)
    torch.distributed.destroy_process_group()
    if rank == 0:
        print(json.dumps({"seconds": statistics.median(seconds[WARM_UP:] or seconds)}))


if __name__ == "__main__":
    main()
