"""A loop over epochs, with code after each."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))
ends: list[int] = []
run.after_step(lambda step: ends.append(step.number) if step.ends_epoch else None)
epochs = []
for epoch in run.epochs():
    for batch in run.batches():
        interrupt(batch)
        assert batch.epoch == epoch
        run.step(functional.cross_entropy(model(batch.x), batch.y))
    epochs.append(epoch)
assert epochs == sorted(set(epochs)) and len(epochs) <= 4
assert all((end + 1) % run.dataset.steps_per_epoch == 0 for end in ends)
run.finish(last_epoch=epochs[-1])
