"""Batches are requested early, once each, and forgotten where they turn out not to be needed."""

from types import SimpleNamespace
from typing import Any

from pangea.worker.batches import BatchSource

STEPS_PER_EPOCH, STEPS = 3, 6


class Client:
    """Records requests, and delivers batches without samples."""

    def __init__(self) -> None:
        self.requested: list[tuple[int, int, int]] = []
        self.waiting: set[tuple[int, int, int]] = set()
        self.most_waiting = 0

    @staticmethod
    def _key(request: tuple[Any, ...]) -> tuple[int, int, int]:
        _, _, epoch, step, _, shard, *_ = request
        return epoch, step, shard

    def prefetch_all(self, requests: list[Any]) -> None:
        for request in requests:
            self.prefetch(*request)

    def prefetch(self, *request: Any) -> None:
        key = self._key(request)
        if key not in self.waiting:
            self.requested.append(key)
            self.waiting.add(key)
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def batch(self, *request: Any) -> Any:
        self.prefetch(*request)
        key = self._key(request)
        self.waiting.remove(key)
        nothing = SimpleNamespace(dtype="int64", shape=(0,), buffer=b"")
        return SimpleNamespace(
            features=nothing, labels=nothing, sample_ids=nothing, epoch=key[0], step=key[1], shard=key[2], hash=b""
        )

    def discard(self, *request: Any) -> None:
        self.waiting.discard(self._key(request))


def source(client: Client, shards: int = 8) -> BatchSource:
    settings: Any = SimpleNamespace(seed=1, batch_size=64, shards=shards, min_shard_samples=2, content_hash="xxh3Tree")
    typed: Any = client
    return BatchSource(typed, settings, lambda step: divmod(step, STEPS_PER_EPOCH) if step < STEPS else None)


def compute(batches: BatchSource, step: int, shards: list[int]) -> None:
    assert [batch.shard for batch in batches.training(*divmod(step, STEPS_PER_EPOCH), step, shards)] == shards


def test_the_next_step_is_requested_when_the_lease_is_half_done() -> None:
    client = Client()
    batches = iter(source(client).training(0, 2, 2, [4, 5, 6, 7]))
    next(batches)
    assert len(client.requested) == 4
    next(batches)
    assert client.requested[4:] == [(1, 0, 4), (1, 0, 5), (1, 0, 6), (1, 0, 7)], "also across epochs"


def test_each_batch_is_requested_once_and_none_after_the_last_step() -> None:
    client = Client()
    batches = source(client)
    for step in range(STEPS):
        compute(batches, step, [0, 1, 2])
    assert len(client.requested) == len(set(client.requested)) == STEPS * 3
    assert not client.waiting


def test_a_changed_lease_wastes_at_most_the_batches_of_one_step() -> None:
    client = Client()
    batches = source(client)
    compute(batches, 0, [0, 1, 2, 3])
    compute(batches, 1, [0, 1])
    compute(batches, 2, [0, 1])
    wasted = {(0, 1, 2), (0, 1, 3)}
    assert set(client.requested) & wasted == wasted, "they were requested early"
    assert not client.waiting & wasted, "they are forgotten"
    assert len(client.requested) == len(set(client.requested)) == 4 + 4 + 2 + 2


def test_a_lease_that_is_repeated_keeps_what_was_requested_early() -> None:
    client = Client()
    batches = source(client)
    compute(batches, 0, [0, 1])
    compute(batches, 0, [0, 1])
    compute(batches, 1, [0, 1])
    assert client.requested.count((0, 1, 0)) == client.requested.count((0, 1, 1)) == 1


def test_memory_is_bounded() -> None:
    client = Client()
    compute(source(client, 64), 0, list(range(64)))
    assert client.most_waiting == 32
