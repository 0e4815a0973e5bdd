"""The fixed binary tree over shard numbers in which gradient sums meet.

node(first, count) = node(first, count / 2) + node(first + count / 2, count / 2), element by element in float32, left operand first. Addition of floats
is not associative; adding in this one order makes the total independent of who computed which shard. The orchestrator adds the rest in the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Node(Generic[Value]):
    """The sum over the shards [first, first + count); count is a power of two that divides first."""

    first: int
    count: int
    value: Value


def merge(leaves: Mapping[int, Value], add: Callable[[Value, Value], Value]) -> list[Node[Value]]:
    """Adds up the aligned subtrees that are complete.

    Args:
        leaves: sum of each shard, by its number.
        add: left and right operand to their sum; it may reuse the memory of the left one.
    Returns:
        the roots of the largest complete subtrees, ascending; together they cover exactly the given shards.
    """
    roots: list[Node[Value]] = []
    for shard in sorted(leaves):
        node = Node(shard, 1, leaves[shard])
        # A right child completes its parent exactly if the left child ends where it starts.
        while roots and roots[-1].count == node.count and roots[-1].first + node.count == node.first and node.first % (2 * node.count) == node.count:
            left = roots.pop()
            node = Node(left.first, 2 * node.count, add(left.value, node.value))
        roots.append(node)
    return roots
