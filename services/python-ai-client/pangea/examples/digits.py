"""Classifies 8x8 images of handwritten digits with a small convolutional network."""

import torch
from torch import nn
from torch.nn import functional

import pangea


def build_model() -> nn.Module:
    """Returns a model from images [n, 1, 8, 8] to scores [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 10),
    )


def main() -> None:
    """Trains, evaluates, and writes the results into the run directory."""
    pangea.seed_everything()
    model = build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    run = pangea.join(model, optimizer)
    for batch in run.batches():
        run.step(functional.cross_entropy(model(batch.x), batch.y))

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for batch in run.held_out():
            correct += int((model(batch.x).argmax(1) == batch.y).sum())
            total += batch.samples
    run.finish(held_out_accuracy=correct / total)


if __name__ == "__main__":
    main()
