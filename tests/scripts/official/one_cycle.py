"""A schedule that needs the number of steps of the run, which is known once the script has joined."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
run = pangea.join(
    model,
    optimizer,
    scheduler=lambda optimizer, data: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=data.steps),
)
for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(rate=optimizer.param_groups[0]["lr"])
