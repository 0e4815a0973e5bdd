"""Trains a network on the CPU, or with DEVICE=delayed on a device whose copies arrive as late as they may."""

import os

import torch
from torch import nn
from torch.nn import functional

import pangea
from pangea.training import gradients
from pangea.training.devices.delayed import Delayed

BREAKS_AT, REMEMBERS = int(os.environ.get("BREAKS_AT", "-1")), os.environ.get("REMEMBERS") == "1"

device = Delayed()
if os.environ.get("DEVICE") == "delayed":
    gradients.device_of = lambda _: device  # type: ignore[attr-defined,assignment]
pangea.seed_everything()
model = nn.Sequential(
    nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10)
)
run = pangea.join(model, torch.optim.AdamW(model.parameters(), lr=1e-2), clip_norm=1.0)
last = torch.zeros(())
for batch in run.batches():
    loss = functional.cross_entropy(model(batch.x), batch.y)
    if REMEMBERS:
        loss, last = loss + 0.1 * last, loss.detach()
    if batch.step == BREAKS_AT:
        loss = loss * float("nan")
    run.step(loss)
print(f"at most {device.most_in_flight} copies in flight")
run.finish()
