"""Trains a small network on the digits: what the old runs in this folder began with."""

import torch
from torch import nn
from torch.nn import functional

import pangea
from tests.harness.gates import pass_gate

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
run = pangea.join(model, torch.optim.AdamW(model.parameters(), lr=2e-3))
for batch in run.batches():
    pass_gate(batch.step)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish()
