"""A loss that is a sum over the batch, as in many variational autoencoders."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 64))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=1e-5))
for batch in run.batches():
    interrupt(batch)
    run.step(functional.mse_loss(model(batch.x), batch.x.flatten(1), reduction="sum"), reduction="sum")
run.finish()
