"""Simulates several workers in one process, for tests: each has its own model, and they exchange real gradient sums."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from pangea.training.determinism import configure_torch, seed_shard
from pangea.training.lease import Lease, ShardReport
from pangea.training.optimizer import Training
from pangea.training.snapshot import Position
from pangea.training.sums import VectorPool
from pangea.training.tree import Node

Loss = Callable[[nn.Module, torch.Tensor], torch.Tensor]
Build = Callable[[], Training]


def mean_square(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Returns a loss that depends on every output."""
    output: torch.Tensor = model(x)
    return output.square().mean()


@dataclass
class Group:
    """The workers of one run.

    Attributes:
        workers: all built by the same function.
        features: of a sample.
        shards, batch_size: of a step; every third step has fewer samples.
        loss: computes the loss from a model and the samples of a shard, as the user's script does.
    """

    workers: list[Training]
    features: int
    shards: int = 8
    batch_size: int = 24
    loss: Loss = mean_square
    seed: int = 11

    def __post_init__(self) -> None:
        configure_torch()

    def samples(self, step: int) -> list[torch.Tensor]:
        """Returns the samples of each shard; every third step has fewer samples than shards."""
        count = 5 if step % 3 == 2 else self.batch_size
        x = torch.randn(count, self.features, generator=torch.Generator().manual_seed(step))
        return [x[count * shard // self.shards : count * (shard + 1) // self.shards] for shard in range(self.shards)]

    def step(self, step: int, rng: random.Random) -> None:
        """Runs one step, with shards assigned and ordered at random by `rng`."""
        samples = self.samples(step)
        owner = [rng.randrange(len(self.workers)) for _ in range(self.shards)]
        nodes: list[Node[torch.Tensor]] = []
        losses = [0.0] * self.shards
        for number in rng.sample(range(len(self.workers)), len(self.workers)):
            parameters = self.workers[number].parameters
            shards = [shard for shard in range(self.shards) if owner[shard] == number]
            lease = Lease(
                step, 0, step, shards, frozenset(rng.sample(shards, len(shards) // 3)), VectorPool(parameters.elements)
            )
            for shard in shards:
                x = samples[shard]
                if len(x) == 0:
                    lease.record(ShardReport(shard, 0, 0.0, b"", 0.0), parameters.zero_sum())
                    continue
                parameters.begin_shard()
                seed_shard(self.seed, step, shard)
                loss = self.loss(self.workers[number].parameters.model, x)
                lease.record(
                    ShardReport(shard, len(x), loss.item() * len(x), b"", float(len(x))),
                    parameters.gradient_sum(loss, len(x)),
                )
                losses[shard] = lease.reports[shard].loss_sum
            nodes += [Node(root.first, root.count, root.value.flat()) for root in lease.roots()]
        total = add_up(nodes)
        before = total.clone()
        for number in rng.sample(range(len(self.workers)), len(self.workers)):
            self.workers[number].apply(total, sum(map(len, samples)), sum(losses))
        # In a run it may be memory of the orchestrator, which no worker can write.
        assert torch.equal(total.view(torch.int32), before.view(torch.int32)), "the sum of a step is only read"

    def hashes(self) -> list[bytes]:
        """Returns the hash of each worker's parameters."""
        return [worker.parameters.hash() for worker in self.workers]


def add_up(nodes: list[Node[torch.Tensor]]) -> torch.Tensor:
    """Adds the workers' sums in the same tree, as the orchestrator does."""
    pending = {node.first: node for node in nodes}
    while len(pending) > 1:
        first, count = next(
            (f, n.count)
            for f, n in sorted(pending.items())
            if f % (2 * n.count) == 0 and f + n.count in pending and pending[f + n.count].count == n.count
        )
        right = pending.pop(first + count)
        pending[first] = Node(first, 2 * count, pending[first].value + right.value)
    return pending[0].value


def careful(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Computes a shard of one sample in evaluation mode, because BatchNorm needs two."""
    model.train(len(x) != 1)
    return mean_square(model, x)


def assert_same_bits(build: Build, steps: int, loss: Loss = careful, features: int = 6) -> Group:
    """Runs one worker and a group of three, and compares them after each step. Returns the group.

    Halfway, a fourth worker joins the group by snapshot.
    """
    alone = Group([build()], features, loss=loss)
    together = Group([build() for _ in range(3)], features, loss=loss)
    seen = set()
    for step in range(steps):
        alone.step(step, random.Random(step))
        together.step(step, random.Random(100 + step))
        (expected,) = alone.hashes()
        assert set(together.hashes()) == {expected}, f"step {step}"
        seen.add(expected)
        if step == steps // 2:
            late = build()
            position = Position(step + 1, together.seed, together.shards, together.batch_size)
            assert late.load(together.workers[1].encode(position)) == position
            together.workers.append(late)
    assert len(seen) == steps, "training does not move the parameters"
    return together
