"""Random numbers depend on the work, not on the worker."""

import hashlib
import random

import numpy
import pytest
import torch

from pangea.determinism import seed_everything, seed_shard, shard_seed


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), float(numpy.random.rand())


def test_a_shard_draws_the_same_numbers_whatever_was_drawn_before() -> None:
    seed_shard(7, 3, 2)
    first = draws()
    draws()
    seed_shard(7, 3, 2)
    assert draws() == first


def test_seeds_of_different_work_differ() -> None:
    seeds = {shard_seed(seed, step, shard) for seed in range(5) for step in range(50) for shard in range(8)}
    assert len(seeds) == 5 * 50 * 8
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_the_seed_function_never_changes() -> None:
    assert shard_seed(0, 0, 0) == int.from_bytes(hashlib.sha256(b"pangea/shard/1" + bytes(24)).digest()[:8], "little") >> 1


def test_everything_is_seeded_by_the_launchers_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_SEED", "41")
    assert seed_everything() == 41
    first = draws()
    seed_everything(41)
    assert draws() == first
