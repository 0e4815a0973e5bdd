"""A learning rate as a function of the step, and noise on the gradient of each step."""

import math

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def rate(step: int) -> float:
    return 0.1 * (step + 1) / 20 if step < 20 else 0.05 * (1 + math.cos(math.pi * (step - 20) / 72))


run = pangea.join(model, optimizer, rate=rate)


@run.before_step
def add_noise(_step: pangea.Step) -> None:
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.add_(torch.randn(parameter.shape), alpha=1e-3)


for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(rate=optimizer.param_groups[0]["lr"])
