"""Noise from generators that are made for each batch, beside dropout; validation draws random numbers too."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(
    nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
)
run = pangea.join(model, torch.optim.Adam(model.parameters(), lr=1e-3))


def accuracy() -> float:
    """The accuracy on held-out samples; draws random numbers, which must not affect training."""
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for held_out in run.held_out():
            torch.rand(3)
            correct += int((model(held_out.x).argmax(1) == held_out.y).sum())
            total += held_out.samples
    model.train()
    return correct / total


epoch = -1
for batch in run.batches():
    interrupt(batch)
    if batch.epoch != epoch:
        epoch = batch.epoch
        accuracy()
    noise = torch.from_numpy(batch.numpy_generator().standard_normal(batch.x.shape).astype("float32"))
    x = batch.x + 0.1 * noise + 0.1 * torch.randn(batch.x.shape, generator=batch.torch_generator())
    run.step(functional.cross_entropy(model(x), batch.y))
run.finish(held_out_accuracy=accuracy())
