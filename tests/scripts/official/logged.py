"""Figures of each kind: of a batch, of a step that is applied, and of the parameters between two epochs."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))


@run.before_step
def log_the_gradient(_: pangea.Step) -> None:
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    run.log({"gradient/norm": max(float(gradient.norm()) for gradient in gradients)})


@run.after_step
def log_the_step(step: pangea.Step) -> None:
    assert step.number == run.steps
    run.log({"step": step.number}, weights=model[1].weight.detach().norm(), replaced=1.5)


def evaluate() -> float:
    with torch.no_grad():
        right = sum(int((model(batch.x).argmax(1) == batch.y).sum()) for batch in run.held_out())
    return right / run.dataset.held_out_samples


run.log(only_in_step_0=float("nan"))
for epoch in run.epochs():
    run.log(epoch=epoch)
    for batch in run.batches():
        interrupt(batch)
        scores = model(batch.x)
        run.log(accuracy=(scores.argmax(1) == batch.y).double().mean(), replaced=0)
        run.step(functional.cross_entropy(scores, batch.y))
        run.log({"seen/largest": batch.x.max(), "step_of_batch": batch.step})
    run.log(held_out_accuracy=evaluate(), steps_applied=run.steps)
run.finish()
