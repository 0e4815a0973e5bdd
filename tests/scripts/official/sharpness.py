"""Sharpness-aware minimisation: the gradient of each shard is taken where its own loss is higher."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

RHO = 0.05

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
for batch in run.batches():
    interrupt(batch)
    weights = dict(model.named_parameters())
    loss = functional.cross_entropy(model(batch.x), batch.y)
    slopes = torch.autograd.grad(loss, list(weights.values()))
    length = torch.stack([slope.norm() for slope in slopes]).norm()
    higher = {
        name: weight + RHO * slope / length for (name, weight), slope in zip(weights.items(), slopes, strict=True)
    }
    scores = torch.func.functional_call(model, higher, batch.x)  # type: ignore[attr-defined]
    run.step(functional.cross_entropy(scores, batch.y))
run.finish()
