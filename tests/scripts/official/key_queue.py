"""A queue of the keys of earlier batches, as MoCo has it: each shard writes its own part of it."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

SHARDS, MOST = 8, 8  # of a step; samples in a shard
PLACES = 4 * SHARDS * MOST


class Contrast(nn.Module):
    """The loss of telling a sample from the keys in the queue."""

    queue: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
        self.register_buffer("queue", functional.normalize(torch.randn(PLACES, 16), dim=1))

    def forward(self, x: torch.Tensor, first: int) -> torch.Tensor:
        """The places of this batch begin with number `first`."""
        query = functional.normalize(self.encoder(x + 0.1 * torch.randn(x.shape)), dim=1)
        key = functional.normalize(self.encoder(x), dim=1).detach()
        same = (query * key).sum(1, keepdim=True)
        scores = torch.cat([same, query @ self.queue.clone().t()], 1) / 0.2
        self.queue[first : first + len(key)] = key
        return functional.cross_entropy(scores, torch.zeros(len(x), dtype=torch.long))


pangea.seed_everything()
model = Contrast()
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.05), buffers={"queue": "sum"})
for batch in run.batches():
    interrupt(batch)
    run.step(model(batch.x, (batch.step * SHARDS + batch.shard) * MOST % PLACES))
run.finish(norms=float(model.queue.norm(dim=1).mean()))
