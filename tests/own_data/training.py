"""A training script with a dataset of its own: dicts of texts, numbers and augmented tensors of different lengths.

- LOADERS: loader processes of the worker.
- SAMPLES, CHANGED, CLASS: how many samples there are, one that is different, and the name of their class.
- LOADED_DIR: a file NAME in it gets a line with the sample ids of each batch that the worker computes.
- EVALUATE_EVERY: the worker evaluates the model in the loop, in every such step.
- KILL_LOADER_STEP: at this step, the loader processes of the worker are killed.
- GATE_STEP, GATE_DIR, COMPUTED_DIR: see tests/harness/gates.py.
"""

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, Subset, default_collate

import pangea
from tests.harness.gates import pass_gate

CLASSES = 5


class Sequences(Dataset[dict[str, Any]]):
    """Sample i is a sequence of 3 to 9 vectors, shifted, masked and with noise, each by another generator."""

    def __init__(self, samples: int, changed: int) -> None:
        self._samples, self._changed = samples, changed

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        steps = torch.arange(3.0 + index % 7)
        x = torch.stack([torch.sin(steps * (1 + index % CLASSES)), torch.cos(steps)], dim=1)
        x = x.roll(random.randrange(3), dims=0) + 0.1 * torch.randn(x.shape)
        if numpy.random.random() < 0.5:
            x[0] = 0
        if index == self._changed:
            x += 1
        return {"x": x, "label": index % CLASSES, "name": f"sequence {index}"}


# As if the class had been renamed.
Sequences.__qualname__ = os.environ.get("CLASS", Sequences.__qualname__)


def pad(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Collates sequences of different lengths."""
    return {
        "x": nn.utils.rnn.pad_sequence([sample["x"] for sample in samples], batch_first=True),
        "lengths": torch.tensor([len(sample["x"]) for sample in samples]),
        "label": default_collate([sample["label"] for sample in samples]),
        "names": [sample["name"] for sample in samples],
    }


class Classifier(nn.Module):
    """Averages what a small network makes of each vector."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.1))
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Returns the logits of padded sequences."""
        inside = torch.arange(x.shape[1])[None] < lengths[:, None]
        mean = (self.each(x) * inside[:, :, None]).sum(1) / lengths[:, None]
        logits: torch.Tensor = self.last(mean)
        return logits


def evaluate(model: Classifier, run: pangea.Run) -> list[int]:
    """Returns how many samples of each held-out batch are classified correctly."""
    model.eval()
    with torch.no_grad():
        batches = [(model(b.data["x"], b.data["lengths"]), b.data["label"]) for b in run.held_out()]
    model.train()
    return [int((logits.argmax(1) == label).sum()) for logits, label in batches]


def main() -> None:
    """Trains, evaluates on held-out samples, and reports how many of them were right."""
    pangea.seed_everything()
    model = Classifier()
    data = Sequences(int(os.environ.get("SAMPLES", "403")), int(os.environ.get("CHANGED", "-1")))
    cut = len(data) - 100
    run = pangea.join(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        dataset=Subset(data, range(cut)),
        held_out=Subset(data, range(cut, len(data))),
        collate_fn=pad,
        loader_processes=int(os.environ.get("LOADERS", "0")),
    )
    kill_at = int(os.environ.get("KILL_LOADER_STEP", "-1"))
    every = int(os.environ.get("EVALUATE_EVERY", "0"))
    for batch in run.batches():
        pass_gate(batch.step)
        if folder := os.environ.get("LOADED_DIR"):
            with (Path(folder) / os.environ["PANGEA_WORKER_NAME"]).open("a") as stream:
                stream.write(" ".join(map(str, batch.sample_ids.tolist())) + "\n")
        if batch.step == kill_at:
            kill_at = -1
            for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        assert batch.data["names"] == [f"sequence {number}" for number in batch.sample_ids.tolist()]
        run.step(functional.cross_entropy(model(batch.data["x"], batch.data["lengths"]), batch.data["label"]))
        if every and batch.step % every == 0:
            evaluate(model, run)
    right = evaluate(model, run)
    run.finish(held_out_accuracy=sum(right) / 100, held_out_batches=len(right))


if __name__ == "__main__":
    main()
