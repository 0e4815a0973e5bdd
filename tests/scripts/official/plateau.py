"""After each epoch, a loss on held-out data sets the learning rate, and ends the run when it no longer falls."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

PATIENCE = 1

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=8.0)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
progress = {"best": float("inf"), "epochs_since": 0, "evaluations": 0}
run = pangea.join(model, optimizer)


def evaluate(step: pangea.Step) -> None:
    if not step.ends_epoch:
        return
    with torch.no_grad():
        losses = [functional.cross_entropy(model(batch.x), batch.y, reduction="sum") for batch in run.held_out()]
    loss = float(sum(losses)) / run.dataset.held_out_samples
    run.log(held_out_loss=loss)
    scheduler.step(loss)
    progress["evaluations"] += 1
    progress["epochs_since"] = 0 if loss < progress["best"] else progress["epochs_since"] + 1
    progress["best"] = min(loss, progress["best"])


run.after_step(evaluate, state={"scheduler": scheduler, "progress": progress})
for batch in run.batches():
    interrupt(batch)
    if progress["epochs_since"] > PATIENCE:
        run.stop("the held-out loss no longer falls")
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(rate=optimizer.param_groups[0]["lr"], evaluations=progress["evaluations"])
