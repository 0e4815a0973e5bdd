"""A fifth of the remaining weights is pruned after each epoch."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

import pangea

pangea.seed_everything()
layer = nn.Linear(64, 10)
model = nn.Sequential(nn.Flatten(), layer)
prune.identity(layer, "weight")  # type: ignore[no-untyped-call]
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))


@run.after_step
def cut(step: pangea.Step) -> None:
    if step.ends_epoch:
        prune.l1_unstructured(layer, "weight", 0.2)  # type: ignore[no-untyped-call]


for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(left=int(layer.get_buffer("weight_mask").sum()))
