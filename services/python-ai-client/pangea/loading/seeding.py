"""Random numbers of a sample: the same whoever loads it, and whatever was loaded before it.

Augmentation draws from the global generators of torch, numpy and `random`. They are seeded anew for each sample, from
the run's seed, the epoch and the sample's index, and once more for what `collate_fn` draws.
"""

from __future__ import annotations

import hashlib
import random
import struct

import numpy
import torch

_SAMPLE, _COLLATE = b"pangea/sample/1", b"pangea/collate/1"


def sample_seed(seed: int, split: int, epoch: int, sample: int) -> int:
    """Returns the seed of one sample in one epoch: SHA-256 over the numbers, truncated to 63 bits.

    Args:
        seed: of the run.
        split: 0 for training, 1 for held-out samples.
        epoch: in which the sample is loaded.
        sample: its index.
    """
    return _truncated(_SAMPLE + struct.pack("<QQQQ", seed, split, epoch, sample))


def collate_seed(seed: int, split: int, epoch: int, step: int, shard: int) -> int:
    """Returns the seed for what is drawn while the samples of a shard are collated; `step` counts within the epoch."""
    return _truncated(_COLLATE + struct.pack("<QQQQQ", seed, split, epoch, step, shard))


def worker_seed(number: int) -> int:
    """Returns the seed that torch's `get_worker_info` reports in a loader process; no sample depends on it."""
    return _truncated(b"pangea/loader/1" + struct.pack("<Q", number))


def _truncated(text: bytes) -> int:
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def seed_generators(seed: int) -> None:
    """Seeds torch's generator of the CPU, numpy's and that of `random`.

    Other devices are left alone: a loader process must not touch them.
    """
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)
