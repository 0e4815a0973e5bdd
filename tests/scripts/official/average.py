"""A moving average of the parameters, updated once a step, that survives a resume."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import pangea

pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))  # type: ignore[no-untyped-call]
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))
run.after_step(lambda _: average.update_parameters(model), state={"average": average})
for batch in run.batches():
    interrupt(batch)
    run.step(functional.cross_entropy(model(batch.x), batch.y))
run.finish(
    moved=int(average.n_averaged),
    weights=next(average.module.parameters()).flatten()[:20],
    steps_in_all=run.dataset.steps,
)
