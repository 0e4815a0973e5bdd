"""A loss that ignores padding, weighted by the number of targets: the steps of one process over the whole batch."""

import copy

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

IGNORED = -100


def targets(batch: pangea.Batch) -> torch.Tensor:
    """The targets of a batch; those of every third sample, and of about a third of the others, are padding."""
    return torch.where((batch.sample_ids % 3 == 0) | (batch.sample_ids % 64 > 40), IGNORED, batch.y)


pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.5))
reference = copy.deepcopy(model)
optimizer = torch.optim.SGD(reference.parameters(), lr=0.5)
whole: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
step = 0


def follow() -> None:
    """Takes the same step by torch alone, from the shards that this worker has seen: with one worker, all."""
    x, y = (torch.cat([pair[part] for _, pair in sorted(whole.items())]) for part in (0, 1))
    whole.clear()
    optimizer.zero_grad()
    functional.cross_entropy(reference(x), y, ignore_index=IGNORED).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


for batch in run.batches():
    interrupt(batch)
    if batch.step != step:
        follow()
        step = batch.step
    y = targets(batch)
    whole[batch.shard] = batch.x.clone(), y
    run.step(functional.cross_entropy(model(batch.x), y, ignore_index=IGNORED), weight=(y != IGNORED).sum())
follow()
run.finish(
    furthest=max(
        float((one - other).detach().abs().max())
        for one, other in zip(model.parameters(), reference.parameters(), strict=True)
    )
)
