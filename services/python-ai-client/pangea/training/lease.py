"""The shards that are leased to a worker, and their gradient sums, in memory that they are sent from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pangea.training.sums import GradientSum, RootMemory
from pangea.training.tree import Forest, Node, root_ranges


class ShardReport(NamedTuple):
    """The report on one shard's contribution; the fields of the schema's ShardReport, in its order.

    Attributes:
        loss_sum: the loss times `weight`; if `summed`, the loss.
        weight: the factor of the gradient; 0 if nothing in the shard counts.
        summed: whether the loss is a sum instead of a mean.
        stop: why the run should end after this step; empty if it should not.
        figures: what the script logged about the shard: names and values.
    """

    shard: int
    samples: int
    loss_sum: float
    batch_hash: bytes
    weight: float
    summed: bool = False
    stop: str = ""
    figures: Sequence[tuple[str, float]] = ()


@dataclass
class Lease:
    """The leased shards of one step, and the sums of those already computed.

    Attributes:
        step: counts over the whole run.
        epoch, epoch_step: the epoch, and the step within it.
        shards: ascending.
        separate: shards that are submitted individually, for comparison.
        memory: that the sums are sent from.
        assumed: whether the orchestrator has not answered yet; nothing may be recorded before `confirm`.
        reports: of each computed shard, by its number.
    """

    step: int
    epoch: int
    epoch_step: int
    shards: list[int]
    separate: frozenset[int]
    memory: RootMemory
    assumed: bool = False
    reports: dict[int, ShardReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sums = Forest(self._fold)
        self._root_ranges = root_ranges(tuple(self.shards), self.separate)
        self._figures: dict[int, list[tuple[str, float]]] = {}

    def confirm(self, shards: list[int], separate: frozenset[int]) -> None:
        """Makes an assumed lease what the orchestrator has leased."""
        self.shards, self.separate, self.assumed = shards, separate, False
        self._root_ranges = root_ranges(tuple(shards), separate)

    def record(self, report: ShardReport, total: GradientSum) -> None:
        """Records the result of the next shard. The lease takes over the memory of its sum."""
        self._sums.insert(report.shard, total, separate=report.shard in self.separate)
        self.reports[report.shard] = report

    def log(self, shard: int, figures: Mapping[str, float]) -> None:
        """Adds what the script logged about a shard to its report, which may be recorded later."""
        self._figures[shard] = list(figures.items())

    def _fold(self, first: int, count: int, operands: list[GradientSum]) -> GradientSum:
        """Adds up a node. A root is written straight to the memory that it is sent from."""
        if (first, count) in self._root_ranges or any(operand.vector is not None for operand in operands):
            return self._to_memory(operands)
        return operands[0].layout.add(operands) if len(operands) > 1 else operands[0]

    def _to_memory(self, operands: list[GradientSum]) -> GradientSum:
        vector = self.memory.acquire()
        total = operands[0].layout.add_into(operands, vector, digest=self.memory.is_shared(vector))
        for operand in operands:
            if operand.vector is not None:
                self.memory.release(operand.vector)
        return total

    def roots(self) -> list[Node[GradientSum]]:
        """Returns what to submit: the sums of the largest complete subtrees, in vectors of `memory`."""
        # Only a lease that is not finished has roots elsewhere.
        self._sums.replace(lambda total: total if total.vector is not None else self._to_memory([total]))
        return self._sums.roots()

    def reports_of(self, root: Node[GradientSum]) -> list[ShardReport]:
        """Returns the reports of the shards of a root, in their order."""
        shards = range(root.first, root.first + root.count)
        return [self.reports[shard]._replace(figures=self._figures.get(shard, [])) for shard in shards]

    def release(self) -> None:
        """Returns the memory of the sums."""
        for root in self._sums.roots():
            if root.value.vector is not None:
                self.memory.release(root.value.vector)
        self._sums = Forest(self._fold)
