"""Classifies digits on several processes: `pangea train after.py --workers 2 -- digits.csv`."""

import sys

import numpy
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import pangea

EPOCHS, BATCH_SIZE = 5, 64


def read(file: str) -> tuple[TensorDataset, TensorDataset]:
    rows = torch.from_numpy(numpy.loadtxt(file, delimiter=",", dtype=numpy.float32))
    x, y = rows[:, :64].view(-1, 1, 8, 8) / 16, rows[:, 64].long()
    return TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])


def accuracy(model: nn.Module, test_set: TensorDataset) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(test_set, 256))
    return right / len(test_set)


def main() -> None:
    pangea.seed_everything()
    train_set, test_set = read(sys.argv[1])
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(train_set) // BATCH_SIZE))
    run = pangea.join(
        model,
        optimizer,
        scheduler=scheduler,
        clip_norm=1.0,
        dataset=train_set,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
    )
    for _ in run.epochs():
        model.train()
        for batch in run.batches():
            loss = functional.cross_entropy(model(batch.x), batch.y)
            run.step(loss)
        run.log(accuracy=accuracy(model, test_set))
    run.finish()


if __name__ == "__main__":
    main()
