"""A layer that is initialised with mean and deviation of a batch (ActNorm, from Glow), by the join."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea


class ActNorm(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.shift, self.scale = nn.Parameter(torch.zeros(features)), nn.Parameter(torch.ones(features))
        self.register_buffer("initialised", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.initialised.item():  # type: ignore[operator]
            with torch.no_grad():
                self.shift.copy_(-x.mean(0))
                self.scale.copy_(1 / (x.std(0) + 1e-6))
                self.initialised.fill_(1)  # type: ignore[operator]
        return self.scale * (x + self.shift)


pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), ActNorm(32), nn.ReLU(), nn.Linear(32, 10))
run = pangea.join(model, torch.optim.Adam(model.parameters(), lr=1e-3), init=lambda batch: model(batch.x))
for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(initialised=model[2].initialised)
