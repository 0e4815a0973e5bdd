"""Layers in bfloat16, one computed again in backward, the others compiled; the last ones are trained later."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import pangea

pangea.seed_everything()
first = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
middle = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
last = nn.Linear(32, 10)
model = nn.ModuleList([first, middle, last])
# The backend inductor needs a C++ compiler.
first.compile(backend="aot_eager")  # type: ignore[no-untyped-call]
run = pangea.join(model, torch.optim.AdamW(model.parameters(), lr=1e-3), clip_norm=1.0)
for batch in run.batches():
    interrupt(batch)
    middle.requires_grad_(batch.step >= 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = functional.cross_entropy(last(checkpoint(middle, first(batch.x), use_reentrant=False)), batch.y)
    run.step(loss)
run.finish()
