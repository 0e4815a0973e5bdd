"""The fixed binary tree over shard numbers in which gradient sums meet.

node(first, count) = node(first, count / 2) + node(first + count / 2, count / 2), element by element in float32, left operand first. Addition of floats
is not associative; adding in this one order makes the total independent of who computed which shard. The orchestrator adds the rest in the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Node(Generic[Value]):
    """The sum over the shards [first, first + count); count is a power of two that divides first."""

    first: int
    count: int
    value: Value


class Forest(Generic[Value]):
    """Sums of ascending shards, added up as they come: of complete subtrees only the root is kept."""

    def __init__(self, add: Callable[[Value, Value], Value]) -> None:
        """Args:
        add: left and right operand to their sum; it may reuse the memory of either.
        """
        self._add = add
        self._roots: list[Node[Value]] = []
        self._closed = 0  # so many of the roots are not added to any more

    def insert(self, shard: int, value: Value, *, separate: bool = False) -> None:
        """Takes the sum of a shard above all earlier ones. A `separate` one stays a root of its own."""
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
        """The roots of the largest complete subtrees, ascending; together they cover exactly the shards that came."""
        return list(self._roots)


def _is_left_sibling(left: Node[Value], node: Node[Value]) -> bool:
    return left.count == node.count and left.first + node.count == node.first and node.first % (2 * node.count) == node.count


def merge(leaves: Mapping[int, Value], add: Callable[[Value, Value], Value], separate: Container[int] = ()) -> list[Node[Value]]:
    """Adds up the aligned subtrees that are complete.

    Args:
        leaves: sum of each shard, by its number.
        add: left and right operand to their sum; it may reuse the memory of either.
        separate: shards that stay roots of their own.
    Returns:
        as `Forest.roots`.
    """
    forest = Forest(add)
    for shard in sorted(leaves):
        forest.insert(shard, leaves[shard], separate=shard in separate)
    return forest.roots()
