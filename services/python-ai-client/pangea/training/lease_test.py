"""A lease needs little memory, and releases it."""

import pytest
import torch

from pangea.training.lease import Lease, ShardReport, VectorPool


@pytest.mark.parametrize("separate", [frozenset[int](), frozenset({3, 9})])
def test_sixteen_shards_need_few_vectors_and_release_all_of_them(separate: frozenset[int]) -> None:
    vectors = VectorPool(4)
    taken = []
    for _ in range(2):
        lease = Lease(0, 0, 0, list(range(16)), separate, vectors)
        for shard in lease.shards:
            vector = vectors.acquire()
            taken.append(vector)
            lease.record(ShardReport(shard, 1, 0.5, b"", 1.0), vector.fill_(2.0**shard))
        for root in lease.roots():
            assert root.value.tolist() == [sum(2.0**shard for shard in range(root.first, root.first + root.count))] * 4
        assert [root.first for root in lease.roots() if root.count == 1 and root.first in separate] == sorted(separate)
        lease.release()
        assert lease.roots() == []
    # One vector per level of the tree and one for the current shard; separate shards split the tree further.
    assert len({vector.data_ptr() for vector in taken}) <= (5 if not separate else 11)


def test_a_report_is_kept_for_each_shard() -> None:
    lease = Lease(7, 1, 2, [2, 3], frozenset(), VectorPool(1))
    lease.record(ShardReport(2, 4, 1.5, b"a", 4.0), torch.ones(1))
    lease.record(ShardReport(3, 0, 0.0, b"b", 0.0), torch.zeros(1))
    assert lease.reports == {2: (2, 4, 1.5, b"a", 4.0, False, ""), 3: (3, 0, 0.0, b"b", 0.0, False, "")}
    assert [(root.first, root.count) for root in lease.roots()] == [(2, 2)]
