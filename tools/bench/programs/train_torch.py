"""Plain torch over batches in memory: one process, or several under DistributedDataParallel with Gloo, each with its part of every batch.

The batches are those of the run, in the same order: they are fetched from the data service before anything is timed.
"""

import time
from typing import Any

import torch

import pangea
from pangea import _native
from pangea.worker.batches import BatchSource
from tools.bench.models import RECIPES
from tools.bench.programs import job as jobs
from tools.bench.programs import torch_process


def fetch(job: dict[str, Any]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """This process's part of the batch of each step."""
    client = _native.DataClient(job["data"])
    source = BatchSource(client, seed=0, batch_size=job["batch_size"], shards=1, min_shard_samples=0)
    steps = -(-client.dataset().train_samples // job["batch_size"])
    parts = []
    for step in range(job["epochs"] * steps):
        [batch] = source.training(step // steps, step % steps, step, [0])
        x, y = (whole.chunk(job["world"])[job["rank"]].clone() for whole in (batch.x, batch.y))
        parts.append((x, y))
    client.close()
    return parts


def main() -> None:
    """Trains over all epochs."""
    job = jobs.read()
    torch_process.use_one_thread()
    pangea.seed_everything()
    recipe = RECIPES[job["model"]]
    model = recipe.model()
    optimizer = recipe.optimizer(model)
    batches = fetch(job)
    if job["world"] > 1:
        torch_process.join_gloo(job)
        model = torch.nn.parallel.DistributedDataParallel(model)
    began: dict[int, float] = {}
    losses = []
    for step, (x, y) in enumerate(batches):
        began[step] = time.perf_counter()
        optimizer.zero_grad()
        loss = recipe.loss(model, x, y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    if job["world"] > 1:
        torch.distributed.destroy_process_group()
    jobs.answer(job, began=began, losses=losses, samples=sum(len(x) for x, _ in batches))


if __name__ == "__main__":
    main()
