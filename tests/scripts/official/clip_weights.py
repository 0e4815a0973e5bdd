"""A critic whose weights are clipped after each step, as in Wasserstein GANs."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
run = pangea.join(model, torch.optim.RMSprop(model.parameters(), lr=1e-3))


@run.after_step
@torch.no_grad()
def clip(_step: pangea.Step) -> None:
    for parameter in model.parameters():
        parameter.clamp_(-0.05, 0.05)


for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(largest=max(float(parameter.detach().abs().max()) for parameter in model.parameters()))
