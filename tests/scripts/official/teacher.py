"""A teacher that follows the model by an average, and acts on the loss (mean teacher, BYOL)."""

import copy

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
teacher = copy.deepcopy(model).requires_grad_(False)
counts = {"averaged": 0}
run = pangea.join(model, torch.optim.Adam(model.parameters(), lr=1e-3))


def follow(_: pangea.Step) -> None:
    with torch.no_grad():
        for mine, its in zip(teacher.parameters(), model.parameters(), strict=True):
            mine.lerp_(its, 0.05)
    counts["averaged"] += 1


run.after_step(follow, state={"teacher": teacher, "counts": counts})
for batch in run.batches():
    interrupt(batch)
    made = model(batch.x + 0.1 * torch.randn(batch.x.shape))
    aim = teacher(batch.x).softmax(1)
    run.step(functional.cross_entropy(made, batch.y) + functional.mse_loss(made.softmax(1), aim))
run.finish(averaged=counts["averaged"])
