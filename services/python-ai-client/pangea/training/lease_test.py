"""A lease needs little memory, writes roots to where they are sent from, and releases it."""

import pytest
import torch

from pangea import _native
from pangea.training.lease import Lease, ShardReport
from pangea.training.sums import GradientSum, Layout, VectorPool


def shard_sum(layout: Layout, *parts: float | None) -> GradientSum:
    """A sum with parts of two elements each."""
    return GradientSum(layout, [None if part is None else torch.full((2,), part) for part in parts])


class CountingPool(VectorPool):
    """A pool that knows how many of its vectors are in use."""

    in_use = 0
    most = 0

    def acquire(self) -> torch.Tensor:
        self.in_use += 1
        self.most = max(self.most, self.in_use)
        return super().acquire().fill_(float("nan"))

    def release(self, vector: torch.Tensor) -> None:
        self.in_use -= 1
        super().release(vector)


@pytest.mark.parametrize(
    ("separate", "roots"),
    [
        (frozenset[int](), [(0, 16)]),
        (frozenset({3, 9}), [(0, 2), (2, 1), (3, 1), (4, 4), (8, 1), (9, 1), (10, 2), (12, 4)]),
    ],
)
def test_each_root_has_a_vector_and_all_are_released(separate: frozenset[int], roots: list[tuple[int, int]]) -> None:
    layout, memory = Layout([2, 2]), CountingPool(4)
    for _ in range(2):
        lease = Lease(0, 0, 0, list(range(16)), separate, memory)
        for shard in lease.shards:
            lease.record(ShardReport(shard, 1, 0.5, b"", 1.0), shard_sum(layout, 2.0**shard, None))
        assert memory.in_use == len(roots), "a sum is written to a vector only once, when it is complete"
        assert [(root.first, root.count) for root in lease.roots()] == roots
        for root in lease.roots():
            expected = sum(2.0**shard for shard in range(root.first, root.first + root.count))
            assert root.value.flat().tolist() == [expected, expected, 0.0, 0.0]
        assert [root.first for root in lease.roots() if root.count == 1 and root.first in separate] == sorted(separate)
        lease.release()
        assert lease.roots() == []
        assert memory.in_use == 0
    assert memory.most == len(roots)


def test_an_inner_node_is_added_in_the_memory_of_its_shards() -> None:
    layout = Layout([2, 2, 2])
    left, right = shard_sum(layout, 1.0, None, None), shard_sum(layout, 2.0, 4.0, None)
    total = layout.add([left, right])
    assert total.parts[0] is left.parts[0] and total.parts[1] is right.parts[1] and total.parts[2] is None
    assert total.flat().tolist() == [3.0, 3.0, 4.0, 4.0, 0.0, 0.0]


def test_a_root_in_shared_memory_is_hashed_as_it_is_written() -> None:
    class Shared(VectorPool):
        def is_shared(self, vector: torch.Tensor) -> bool:
            return True

    layout = Layout([2, 3])
    lease = Lease(0, 0, 0, [0, 1, 2], frozenset(), Shared(5))
    for shard in lease.shards:
        total = GradientSum(layout, [torch.full((2,), shard + 1.0), torch.full((3,), 0.5)])
        lease.record(ShardReport(shard, 1, 0.5, b"", 1.0), total)
    for root in lease.roots():
        assert root.value.digest == _native.content_hash([root.value.flat().numpy().data.cast("B")])


def test_a_lease_that_ends_early_has_roots_as_well() -> None:
    layout, memory = Layout([2]), CountingPool(2)
    lease = Lease(0, 0, 0, list(range(8)), frozenset(), memory)
    for shard in range(7):
        lease.record(ShardReport(shard, 1, 0.5, b"", 1.0), shard_sum(layout, 2.0**shard))
    assert memory.in_use == 0
    assert [(root.first, root.count, root.value.flat()[0].item()) for root in lease.roots()] == [
        (0, 4, 15.0),
        (4, 2, 48.0),
        (6, 1, 64.0),
    ]
    lease.record(ShardReport(7, 1, 0.5, b"", 1.0), shard_sum(layout, 128.0))
    assert [(root.first, root.count, root.value.flat()[0].item()) for root in lease.roots()] == [(0, 8, 255.0)]
    lease.release()
    assert memory.in_use == 0


def test_a_vector_of_another_size_is_refused() -> None:
    layout = Layout([2, 2])
    with pytest.raises(ValueError, match=r"contiguous float32 vector \[4\]"):
        layout.add_into([layout.zeros()], torch.empty(5))


def test_figures_of_a_shard_are_in_its_report_whenever_they_are_logged() -> None:
    lease = Lease(7, 1, 2, [2, 3], frozenset(), VectorPool(2))
    layout = Layout([2])
    lease.log(2, {"a": 1.0})
    lease.record(ShardReport(2, 4, 1.5, b"a", 4.0), shard_sum(layout, 1.0))
    lease.record(ShardReport(3, 4, 0.0, b"b", 4.0), shard_sum(layout, 1.0))
    lease.log(3, {"b": 2.0, "c": 3.0})
    assert [report.figures for report in lease.reports_of(lease.roots()[0])] == [[("a", 1.0)], [("b", 2.0), ("c", 3.0)]]


def test_a_report_is_kept_for_each_shard() -> None:
    lease = Lease(7, 1, 2, [2, 3], frozenset(), VectorPool(2))
    layout = Layout([2])
    lease.record(ShardReport(2, 4, 1.5, b"a", 4.0), shard_sum(layout, 1.0))
    lease.record(ShardReport(3, 0, 0.0, b"b", 0.0), layout.zeros())
    assert lease.reports == {2: (2, 4, 1.5, b"a", 4.0, False, "", ()), 3: (3, 0, 0.0, b"b", 0.0, False, "", ())}
    assert [(root.first, root.count) for root in lease.roots()] == [(2, 2)]
