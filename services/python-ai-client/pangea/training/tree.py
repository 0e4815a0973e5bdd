"""The fixed binary tree over shard numbers in which gradient sums are added.

node(first, count) = node(first, count / 2) + node(first + count / 2, count / 2), element by element in float32, left
operand first. Float addition is not associative; adding in this one order makes the total independent of which worker
computed which shard. The orchestrator adds the workers' sums in the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
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
        add: returns the sum of its left and right operand; it may reuse the memory of either.
    """

    def __init__(self, add: Callable[[Value, Value], Value]) -> None:
        self._add = add
        self._roots: list[Node[Value]] = []
        self._closed = 0  # the first N roots that nothing is added to any more

    def insert(self, shard: int, value: Value, *, separate: bool = False) -> None:
        """Adds the sum of a shard whose number is above all earlier ones. A `separate` one remains a root by itself."""
        node = Node(shard, 1, value)
        if separate:
            self._roots.append(node)
            self._closed = len(self._roots)
            return
        # A right child completes its parent exactly if the left child ends where it starts.
        while len(self._roots) > self._closed and _is_left_sibling(self._roots[-1], node):
            left = self._roots.pop()
            node = Node(left.first, 2 * node.count, self._add(left.value, node.value))
        self._roots.append(node)

    def roots(self) -> list[Node[Value]]:
        """Returns the roots of the largest complete subtrees, ascending; they cover exactly the inserted shards."""
        return list(self._roots)


def _is_left_sibling(left: Node[Value], node: Node[Value]) -> bool:
    return (
        left.count == node.count
        and left.first + node.count == node.first
        and node.first % (2 * node.count) == node.count
    )


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
    forest = Forest(add)
    for shard in sorted(leaves):
        forest.insert(shard, leaves[shard], separate=shard in separate)
    return forest.roots()
