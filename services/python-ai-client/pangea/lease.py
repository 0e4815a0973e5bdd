"""The shards that a worker computes now, and the memory that their sums take."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pangea.tree import Forest, Node


class Vectors:
    """Flat float32 vectors [elements] that are used again and again: a lease needs about log2(shards) of them at a time."""

    def __init__(self, elements: int) -> None:
        self._elements = elements
        self._free: list[torch.Tensor] = []

    def take(self) -> torch.Tensor:
        """A vector with any content."""
        return self._free.pop() if self._free else torch.empty(self._elements, dtype=torch.float32)

    def give_back(self, vector: torch.Tensor) -> None:
        """Says that nobody reads a vector any more."""
        self._free.append(vector)

    def add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left + right in the memory of `left`; `right` is given back."""
        left.add_(right)
        self.give_back(right)
        return left


@dataclass
class Lease:
    """Shards of one step.

    Attributes:
        step: of the run.
        epoch, epoch_step: where it lies in the data.
        shards: ascending.
        separate: those of them that are submitted one by one, for comparison.
        reports: for each shard done (shard, samples, sum of the loss, batch hash).
    """

    step: int
    epoch: int
    epoch_step: int
    shards: list[int]
    separate: frozenset[int]
    vectors: Vectors
    reports: dict[int, tuple[int, int, float, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sums = Forest(self.vectors.add)

    def record(self, shard: int, samples: int, loss_sum: float, batch_hash: bytes, flat: torch.Tensor) -> None:
        """Notes the result of the next shard: its contribution, one of the `vectors`, which then belongs to the lease; and the sum of its loss."""
        self._sums.insert(shard, flat, separate=shard in self.separate)
        self.reports[shard] = (shard, samples, loss_sum, batch_hash)

    def roots(self) -> list[Node[torch.Tensor]]:
        """What is to be submitted: the sums of the largest complete subtrees."""
        return self._sums.roots()

    def release(self) -> None:
        """Gives the memory of the sums back."""
        for root in self.roots():
            self.vectors.give_back(root.value)
        self._sums = Forest(self.vectors.add)
