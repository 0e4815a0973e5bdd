"""The shards that are leased to a worker, and the memory for their gradient sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from pangea.training.tree import Forest, Node


class VectorPool:
    """A pool of flat float32 vectors [elements]. A lease needs about log2(shards) of them at a time."""

    def __init__(self, elements: int) -> None:
        self._elements = elements
        self._free: list[torch.Tensor] = []

    def acquire(self) -> torch.Tensor:
        """Returns a vector with undefined content."""
        return self._free.pop() if self._free else torch.empty(self._elements, dtype=torch.float32)

    def release(self, vector: torch.Tensor) -> None:
        """Returns a vector to the pool."""
        self._free.append(vector)

    def add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Returns left + right in the memory of `left`; `right` returns to the pool."""
        left.add_(right)
        self.release(right)
        return left


class ShardReport(NamedTuple):
    """The report on one shard's contribution; the fields of the schema's ShardReport, in its order.

    Attributes:
        loss_sum: the loss times `weight`; if `summed`, the loss.
        weight: the factor of the gradient; 0 if nothing in the shard counts.
        summed: whether the loss is a sum instead of a mean.
        stop: why the run should end after this step; empty if it should not.
    """

    shard: int
    samples: int
    loss_sum: float
    batch_hash: bytes
    weight: float
    summed: bool = False
    stop: str = ""


@dataclass
class Lease:
    """The leased shards of one step, and the sums of those already computed.

    Attributes:
        step: counts over the whole run.
        epoch, epoch_step: the epoch, and the step within it.
        shards: ascending.
        separate: shards that are submitted individually, for comparison.
        vectors: the pool of the vectors that `record` takes.
        reports: of each computed shard, by its number.
    """

    step: int
    epoch: int
    epoch_step: int
    shards: list[int]
    separate: frozenset[int]
    vectors: VectorPool
    reports: dict[int, ShardReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sums = Forest(self.vectors.add)

    def record(self, report: ShardReport, flat: torch.Tensor) -> None:
        """Records the result of the next shard. Its contribution `flat` comes from `vectors`; the lease releases it."""
        self._sums.insert(report.shard, flat, separate=report.shard in self.separate)
        self.reports[report.shard] = report

    def roots(self) -> list[Node[torch.Tensor]]:
        """Returns what to submit: the sums of the largest complete subtrees."""
        return self._sums.roots()

    def reports_of(self, root: Node[torch.Tensor]) -> list[ShardReport]:
        """Returns the reports of the shards of a root, in their order."""
        return [self.reports[shard] for shard in range(root.first, root.first + root.count)]

    def release(self) -> None:
        """Returns the memory of the sums to the pool."""
        for root in self.roots():
            self.vectors.release(root.value)
        self._sums = Forest(self.vectors.add)
