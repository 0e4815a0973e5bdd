"""Requests for batches of the script's own dataset, and which samples and random numbers belong to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pangea import _native
from pangea.loading.seeding import collate_seed, sample_seed

_SPLITS: tuple[_native.Split, ...] = ("train", "heldOut")


class Request(NamedTuple):
    """The batch of one shard. Two equal requests have the same bits.

    Attributes:
        split: of the dataset.
        epoch, step, shard: `step` counts within the epoch. Held-out samples name theirs.
        samples: the indices, where they do not follow from the others, as a tuple or a range; None where they do.
        repetition: distinguishes a request for bits that were loaded before.
    """

    split: _native.Split
    epoch: int
    step: int
    shard: int
    samples: Sequence[int] | None = None
    repetition: int = 0


@dataclass(frozen=True)
class Settings:
    """What the batches of a run depend on, beside the dataset; before the run is joined, the defaults.

    Attributes:
        seed, batch_size, shards, min_shard_samples: of the run.
        content_hash: how batches are hashed.
    """

    seed: int = 0
    batch_size: int = 1
    shards: int = 1
    min_shard_samples: int = 0
    content_hash: _native.ContentHash = "xxh3Tree"


@dataclass(frozen=True)
class Plan:
    """The samples and the random numbers of every request: pure functions of it.

    Attributes:
        samples_in_all: the length of the training dataset.
        dataset_hash: the identity of the datasets.
        settings: of the run.
        drawn: the generators that samples are known to draw from.
    """

    samples_in_all: int
    dataset_hash: bytes = bytes(32)
    settings: Settings = Settings()
    drawn: frozenset[str] = frozenset()

    @cached_property
    def order(self) -> _native.Order:
        """The order of the training samples; it keeps that of two epochs."""
        run = self.settings
        return _native.Order(
            self.dataset_hash, run.seed, self.samples_in_all, run.batch_size, run.shards, run.min_shard_samples
        )

    def __reduce__(self) -> tuple[type[Plan], tuple[object, ...]]:
        # Without the order, which a loader process computes itself.
        return Plan, (self.samples_in_all, self.dataset_hash, self.settings, self.drawn)

    def size(self, request: Request) -> int:
        """Returns the number of samples of a request, without the order of its epoch."""
        if request.samples is not None:
            return len(request.samples)
        return self.order.size(request.step, request.shard)

    def samples(self, request: Request) -> Sequence[int]:
        """Returns the indices of the samples of a request."""
        if request.samples is not None:
            return request.samples
        return self.order.samples(request.epoch, request.step, request.shard)

    def sample_seed(self, request: Request, sample: int) -> int:
        """Returns the seed for loading one sample of a request. Held-out samples have the same in every run."""
        seed = self.settings.seed if request.split == "train" else 0
        return sample_seed(seed, _SPLITS.index(request.split), request.epoch, sample)

    def collate_seed(self, request: Request) -> int:
        """Returns the seed for collating the samples of a request."""
        seed = self.settings.seed if request.split == "train" else 0
        return collate_seed(seed, _SPLITS.index(request.split), request.epoch, request.step, request.shard)
