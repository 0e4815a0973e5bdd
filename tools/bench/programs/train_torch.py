"""Plain torch over batches in memory: one process, or several under DistributedDataParallel with Gloo, each with its
part of every batch. A part may be cut further into micro-batches, whose gradients accumulate.

The batches are those of the run, in the same order: they are fetched from the data service before anything is timed.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch

import pangea
from pangea import _native
from pangea.worker.batches import as_tensor
from tools.bench.models import RECIPES, described
from tools.bench.programs import allocator, torch_process
from tools.bench.programs import job as jobs
from tools.bench.programs.steps import Steps

Part = tuple[torch.Tensor, torch.Tensor]


def fetch(job: dict[str, Any]) -> list[list[Part]]:
    """The micro-batches of this process's part of the batch of each step."""
    client = _native.DataClient(job["data"])
    steps = -(-client.dataset().train_samples // job["batch_size"])
    parts = []
    for step in range(job["epochs"] * steps):
        batch = client.batch("train", 0, step // steps, step % steps, job["batch_size"], 0, 1)
        tensors = [as_tensor(view) for view in (batch.features, batch.labels)]
        x, y = (whole.chunk(job["world"])[job["rank"]] for whole in tensors)
        count = job["micro_batches"]
        parts.append([(a.clone(), b.clone()) for a, b in zip(x.chunk(count), y.chunk(count), strict=True)])
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
    losses, steps = [], Steps(job)
    for step, parts in enumerate(batches):
        steps.begin(step)
        optimizer.zero_grad()
        losses.append(sum(part.item() for part in accumulate(model, recipe.loss, parts)))
        optimizer.step()
    if job["world"] > 1:
        torch.distributed.destroy_process_group()
    jobs.answer(
        job,
        began=steps.began,
        losses=losses,
        samples=sum(len(x) for parts in batches for x, _ in parts),
        settings={
            "malloc": allocator.in_effect(),
            "optimizer": described(optimizer),
        },
    )


def accumulate(model: torch.nn.Module, loss_of: Any, parts: list[Part]) -> Iterable[torch.Tensor]:
    """Adds up the gradient of the mean loss over all parts; yields the share of each part in that mean.

    Between processes only the last part's backward pass exchanges gradients, those of all parts.
    """
    samples = sum(len(x) for x, _ in parts)
    for number, (x, y) in enumerate(parts, start=1):
        quiet = isinstance(model, torch.nn.parallel.DistributedDataParallel) and number < len(parts)
        with model.no_sync() if quiet else nullcontext():  # type: ignore[operator]
            loss = loss_of(model, x, y)
            if len(parts) > 1:
                loss = loss * (len(x) / samples)
            loss.backward()
        yield loss.detach()


if __name__ == "__main__":
    main()
