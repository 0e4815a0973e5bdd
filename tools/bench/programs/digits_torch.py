"""The digits example written with torch alone: DataLoader, one process or DistributedDataParallel under torchrun.

With `checkpoint` it saves its state after each step and resumes from there, which a job needs to survive the death of a process.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from pangea.examples.digits import build_model
from pangea.places import data_file
from tools.bench.programs import job as jobs

# As many as Pangea keeps for training.
_TRAINING = 1438


def digits() -> tuple[TensorDataset, TensorDataset]:
    """The samples for training, and those for evaluation."""
    values = numpy.loadtxt(data_file("digits.csv.gz"), delimiter=",", dtype=numpy.float32)
    x = torch.from_numpy(values[:, :-1].reshape(-1, 1, 8, 8))
    x, y = (x - x.mean()) / x.std(), torch.from_numpy(values[:, -1]).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, held_out = order[:_TRAINING], order[_TRAINING:]
    return TensorDataset(x[train], y[train]), TensorDataset(x[held_out], y[held_out])


class State:
    """Model, optimizer and position; on disk if they have to outlive the process."""

    def __init__(self, file: Path | None) -> None:
        torch.manual_seed(0)
        self.model, self.step, self._file = build_model(), 0, file
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3)
        if file is not None and file.exists():
            saved = torch.load(file, weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]

    def save(self) -> None:
        """Replaces the file in one step; without fsync, since only a process is killed here."""
        if self._file is None:
            return
        staging = self._file.with_suffix(".new")
        torch.save(
            {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}, staging
        )
        staging.replace(self._file)


def main() -> None:
    """Trains and evaluates; the first process writes one line per step, and the answer."""
    job = jobs.read()
    folder, rank, world = Path(job["folder"]), int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    training, held_out = digits()
    state = State(folder / "checkpoint.pt" if job["checkpoint"] else None)
    model: torch.nn.Module = state.model
    if world > 1:
        # The processes meet over a file of this start: torchrun's default needs libuv.
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/gloo-{attempt}", rank=rank, world_size=world
        )
        model = torch.nn.parallel.DistributedDataParallel(model)
    train(job, state, model, training, DistributedSampler(training, world, rank, seed=0), rank == 0)
    if rank == 0:
        jobs.answer(job, accuracy=accuracy(state.model, held_out), samples=job["epochs"] * len(training))
    if world > 1:
        torch.distributed.destroy_process_group()


def train(
    job: dict[str, Any],
    state: State,
    model: torch.nn.Module,
    dataset: TensorDataset,
    sampler: DistributedSampler[Any],
    first: bool,
) -> None:
    """All remaining steps, each with this process's part of the batch."""
    batches = DataLoader(dataset, batch_size=job["batch_size"] // sampler.num_replicas, sampler=sampler)
    with (Path(job["folder"]) / "steps.jsonl").open("a", buffering=1) as lines:
        for epoch in range(state.step // len(batches), job["epochs"]):
            sampler.set_epoch(epoch)
            for number, (x, y) in enumerate(batches, epoch * len(batches)):
                if number < state.step:
                    continue
                state.optimizer.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                state.optimizer.step()
                state.step += 1
                if first:
                    state.save()
                    lines.write(json.dumps({"step": number, "loss": loss.item()}) + "\n")


def accuracy(model: torch.nn.Module, dataset: TensorDataset) -> float:
    """The fraction of samples that the model classifies correctly."""
    x, y = dataset.tensors
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


if __name__ == "__main__":
    main()
