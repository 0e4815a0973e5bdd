"""A training script that ignores some samples and ends its run at STOP_STEP."""

import os

import torch
from torch import nn
from torch.nn import functional

import pangea


def main() -> None:
    """Trains a small network on the digits 0 to 4 only."""
    pangea.seed_everything()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for batch in run.batches():
        counts = batch.y < 5
        losses = functional.cross_entropy(model(batch.x), batch.y, reduction="none")
        if batch.step == int(os.environ["STOP_STEP"]):
            run.stop("it has seen enough")
        run.step((losses * counts).sum() / counts.sum().clamp(min=1), weight=counts.sum())
    run.finish()


if __name__ == "__main__":
    main()
