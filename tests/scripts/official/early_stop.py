"""Stops as soon as the loss of a batch is small: after the same step with any number of workers."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))
for batch in run.batches():
    interrupt(batch)
    loss = functional.cross_entropy(model(batch.x), batch.y)
    if batch.step >= 40 and loss.item() < 0.3:
        run.stop("good enough")
    run.step(loss)
run.finish(reason=run.stopped)
