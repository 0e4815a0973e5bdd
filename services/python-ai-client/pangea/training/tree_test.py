"""The fixed tree gives the same bits for every assignment of shards to workers."""

import itertools

import hypothesis
import hypothesis.strategies as st
import torch

from pangea.training.tree import Node, merge


def reference(leaves: list[torch.Tensor]) -> torch.Tensor:
    """Returns the sum by the definition of the tree."""
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return reference(leaves[:half]) + reference(leaves[half:])


def leaves(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [
        torch.randn(257, generator=generator) * 10.0**exponent
        for exponent in torch.randint(-6, 6, (count,), generator=generator).tolist()
    ]


def test_every_assignment_of_eight_shards_to_two_workers_gives_the_bits_of_the_definition() -> None:
    values = leaves(8)
    expected = reference(values)
    for size in range(9):
        for chosen in itertools.combinations(range(8), size):
            parts = [
                merge({shard: values[shard].clone() for shard in group}, torch.add)
                for group in (chosen, set(range(8)) - set(chosen))
            ]
            # As the orchestrator does: the workers' nodes are leaves of the tree above them.
            nodes = {node.first: node for part in parts for node in part}
            while len(nodes) > 1:
                first, count = next(
                    (f, n.count)
                    for f, n in sorted(nodes.items())
                    if f % (2 * n.count) == 0 and f + n.count in nodes and nodes[f + n.count].count == n.count
                )
                right = nodes.pop(first + count)
                nodes[first] = type(right)(first, 2 * count, nodes[first].value + right.value)
            assert torch.equal(nodes[0].value.view(torch.int32), expected.view(torch.int32)), chosen


@hypothesis.given(st.sets(st.integers(0, 63), min_size=1))
def test_roots_are_aligned_maximal_and_cover_exactly_the_shards(shards: set[int]) -> None:
    roots = merge({shard: frozenset({shard}) for shard in shards}, lambda left, right: left | right)
    assert [root.first for root in roots] == sorted(root.first for root in roots)
    assert sorted(shard for root in roots for shard in root.value) == sorted(shards)
    for root in roots:
        assert root.count & (root.count - 1) == 0 and root.first % root.count == 0
        assert root.value == frozenset(range(root.first, root.first + root.count))
        parent = root.first - root.first % (2 * root.count)
        assert not set(range(parent, parent + 2 * root.count)) <= shards, "a complete parent was left in halves"


def test_the_order_of_addition_affects_the_bits() -> None:
    values = leaves(8)
    assert not torch.equal(reference(values), torch.stack(values).cumsum(0)[-1])


@hypothesis.given(st.sets(st.integers(0, 31), min_size=1), st.sets(st.integers(0, 31)))
def test_separate_shards_remain_alone_and_the_others_are_grouped_as_if_they_were_absent(
    shards: set[int], separate: set[int]
) -> None:
    def add(left: frozenset[int], right: frozenset[int]) -> frozenset[int]:
        return left | right

    roots = merge({shard: frozenset({shard}) for shard in shards}, add, separate)
    alone = [Node(shard, 1, frozenset({shard})) for shard in shards & separate]
    others = merge({shard: frozenset({shard}) for shard in shards - separate}, add)
    assert roots == sorted([*alone, *others], key=lambda node: node.first)
