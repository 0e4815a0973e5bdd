"""Random numbers of a sample: the same whoever loads it, and whatever was loaded before it.

Augmentation draws from the global generators of torch, numpy and `random`. They are seeded anew for each sample, from
the run's seed, the epoch and the sample's index, and once more for what `collate_fn` draws.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy
import torch

Value = TypeVar("Value")

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


@dataclass(frozen=True)
class _Generator:
    """A global generator that takes longer to seed than many samples take to load.

    Attributes:
        seed: seeds it.
        park: puts it into a fixed state.
        draw: draws a number from it.
        expected: the first numbers that it gives after `park`.
    """

    seed: Callable[[int], object]
    park: Callable[[], object]
    draw: Callable[[], float]
    expected: Sequence[float]


def _draws(draw: Callable[[], float]) -> list[float]:
    return [draw() for _ in range(256)]


_PARKED = random.Random(0).getstate()
_GENERATORS = {
    "random": _Generator(random.seed, lambda: random.setstate(_PARKED), random.random, _draws(random.Random(0).random)),
    "numpy": _Generator(
        lambda seed: numpy.random.seed(seed & 0xFFFFFFFF),
        lambda: numpy.random.seed(0),
        numpy.random.random_sample,
        _draws(numpy.random.RandomState(0).random_sample),
    ),
}


class Seeds:
    """Seeds the global generators for the samples of one batch: torch's, numpy's and that of `random`.

    Seeding takes longer than loading a small sample from memory, and most datasets use one generator or none. So only
    those in `drawn` are seeded for each sample. The others are in a fixed state, and give a known number after each
    sample, unless it has drawn from them: then that is noticed, and it is loaded again after seeding. So every sample
    is loaded with generators whose states depend on nothing but the batch.

    Devices are left alone: a loader process must not touch them.

    Attributes:
        drawn: the names of the generators to seed.
    """

    def __init__(self, drawn: Collection[str]) -> None:
        self.drawn = set(drawn)
        self._parked = [_Parked(name, generator) for name, generator in _GENERATORS.items() if name not in self.drawn]

    def call(self, seed: int, function: Callable[[], Value]) -> Value:
        """Calls a function that may draw from any of them, after seeding with `seed`; a second time if need be."""
        while True:
            torch.default_generator.manual_seed(seed)
            for name in self.drawn:
                _GENERATORS[name].seed(seed)
            value = function()
            if not self._unforeseen():
                return value

    def _unforeseen(self) -> bool:
        """Whether a generator was drawn from that was not seeded; from now on it is."""
        found = [parked for parked in self._parked if not parked.is_untouched()]
        for parked in found:
            self._parked.remove(parked)
            self.drawn.add(parked.name)
        return bool(found)


class _Parked:
    """A generator that nothing should draw from."""

    __slots__ = ("_draw", "_expected", "_generator", "_number", "name")

    def __init__(self, name: str, generator: _Generator) -> None:
        self.name, self._generator, self._number = name, generator, 0
        self._draw, self._expected = generator.draw, generator.expected
        generator.park()

    def is_untouched(self) -> bool:
        """Whether it gives the number that follows if nothing else has drawn from it."""
        number = self._number
        if self._draw() != self._expected[number]:
            return False
        if number + 1 < len(self._expected):
            self._number = number + 1
        else:
            self._generator.park()
            self._number = 0
        return True
