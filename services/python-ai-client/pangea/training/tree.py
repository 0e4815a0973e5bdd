"""The fixed binary tree over shard numbers in which gradient sums are added.

node(first, count) = node(first, count / 2) + node(first + count / 2, count / 2), element by element in float32, left
operand first. Float addition is not associative; adding in this one order makes the total independent of which worker
computed which shard. The orchestrator adds the workers' sums in the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Node(Generic[Value]):
    """The sum over the shards [first, first + count), where count is a power of two that divides first."""

    first: int
    count: int
    value: Value


class Forest(Generic[Value]):
    """Adds the sums of ascending shards as they arrive, keeping only the roots of complete subtrees.

    Args:
        fold: called for each shard with the number of the first shard and the count of the largest node that it
            completes, and with the operands of its sum: operands[0] + (operands[1] + (...)), of which the last is the
            sum of the shard. Returns the sum; it may reuse the memory of the operands.
    """

    def __init__(self, fold: Callable[[int, int, list[Value]], Value]) -> None:
        self._fold = fold
        self._roots: list[Node[Value]] = []
        self._closed = 0  # the first N roots that nothing is added to any more

    def insert(self, shard: int, value: Value, *, separate: bool = False) -> None:
        """Adds the sum of a shard whose number is above all earlier ones. A `separate` one remains a root by itself."""
        first, count, operands = shard, 1, [value]
        # A right child completes its parent exactly if the left child ends where it starts.
        while (
            not separate and len(self._roots) > self._closed and _is_left_sibling(left := self._roots[-1], first, count)
        ):
            self._roots.pop()
            operands.insert(0, left.value)
            first, count = left.first, 2 * count
        self._roots.append(Node(first, count, self._fold(first, count, operands)))
        if separate:
            self._closed = len(self._roots)

    def roots(self) -> list[Node[Value]]:
        """Returns the roots of the largest complete subtrees, ascending; they cover exactly the inserted shards."""
        return list(self._roots)

    def replace(self, change: Callable[[Value], Value]) -> None:
        """Replaces the value of each root by what `change` returns for it: the same sum, held differently."""
        self._roots = [Node(root.first, root.count, change(root.value)) for root in self._roots]


def _is_left_sibling(left: Node[Value], first: int, count: int) -> bool:
    return left.count == count and left.first + count == first and first % (2 * count) == count


def merge(
    leaves: Mapping[int, Value], add: Callable[[Value, Value], Value], separate: Container[int] = ()
) -> list[Node[Value]]:
    """Adds up the complete aligned subtrees of the given shards.

    Args:
        leaves: the sum of each shard, by its number.
        add: returns the sum of its left and right operand; it may reuse the memory of either.
        separate: shards that remain roots by themselves.
    Returns:
        the roots, as `Forest.roots` returns them.
    """
    forest: Forest[Value] = Forest(
        lambda _first, _count, operands: reduce(lambda right, left: add(left, right), reversed(operands))
    )
    for shard in sorted(leaves):
        forest.insert(shard, leaves[shard], separate=shard in separate)
    return forest.roots()


@lru_cache(maxsize=64)
def root_ranges(shards: tuple[int, ...], separate: frozenset[int]) -> frozenset[tuple[int, int]]:
    """Returns (first, count) of each root that a forest has after all of the shards."""
    roots = merge(dict.fromkeys(shards), lambda _left, _right: None, separate)
    return frozenset((root.first, root.count) for root in roots)
