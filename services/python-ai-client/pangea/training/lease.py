"""The shards that a worker computes now, and the memory that their sums take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from pangea.training.tree import Forest, Node


class VectorPool:
    """Flat float32 vectors [elements] that are used again and again: a lease needs about log2(shards) of them at a time."""

    def __init__(self, elements: int) -> None:
        self._elements = elements
        self._free: list[torch.Tensor] = []

    def acquire(self) -> torch.Tensor:
        """A vector with any content."""
        return self._free.pop() if self._free else torch.empty(self._elements, dtype=torch.float32)

    def release(self, vector: torch.Tensor) -> None:
        """Says that nobody reads a vector any more."""
        self._free.append(vector)

    def add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left + right in the memory of `left`; `right` is given back."""
        left.add_(right)
        self.release(right)
        return left


class ShardReport(NamedTuple):
    """What went into the contribution of one shard; the fields of the schema's ShardReport, in its order.

    Attributes:
        loss_sum: the loss times `weight`; with `summed`, the loss.
        weight: what the gradient was multiplied with; 0 where nothing counts.
        summed: whether the loss is a sum, not a mean.
        stop: why the run is to end after this step; empty where it is not.
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
    """Shards of one step.

    Attributes:
        step: of the run.
        epoch, epoch_step: where it lies in the data.
        shards: ascending.
        separate: those of them that are submitted one by one, for comparison.
        reports: of each shard done, by its number.
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
        """Notes the result of the next shard: its contribution is one of the `vectors`, which then belongs to the lease."""
        self._sums.insert(report.shard, flat, separate=report.shard in self.separate)
        self.reports[report.shard] = report

    def roots(self) -> list[Node[torch.Tensor]]:
        """What is to be submitted: the sums of the largest complete subtrees."""
        return self._sums.roots()

    def release(self) -> None:
        """Gives the memory of the sums back."""
        for root in self.roots():
            self.vectors.release(root.value)
        self._sums = Forest(self.vectors.add)
