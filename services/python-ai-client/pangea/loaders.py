"""What a run needs to know of a torch DataLoader, so that scripts may keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from pangea.errors import MisusedRun


@dataclass(frozen=True)
class LoaderParts:
    """The parts of a DataLoader that `pangea.join` takes.

    Attributes:
        dataset: map-style.
        collate_fn: makes a batch of a list of samples.
        batch_size: samples of a step.
        loader_processes: processes that load batches ahead.
    """

    dataset: Any
    collate_fn: Callable[[list[Any]], Any]
    batch_size: int
    loader_processes: int


def parts_of(loader: Any) -> LoaderParts:
    """Returns the parts of a DataLoader.

    Raises:
        MisusedRun: the run cannot read its data in an order of its own, which every worker agrees on.
    """
    if not isinstance(loader, DataLoader):
        raise MisusedRun(f"a run needs a torch DataLoader over its training data, but got a {type(loader).__name__}")
    if isinstance(loader.dataset, IterableDataset):
        raise MisusedRun(
            "the DataLoader has an IterableDataset, whose samples have no numbers, so no worker could read those of its"
            " shards; use a map-style dataset with __len__ and __getitem__"
        )
    # A loader that accelerate has prepared has its sampler within a batch sampler of its own.
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    batch_size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    if isinstance(sampler, RandomSampler) and sampler.replacement:
        raise MisusedRun("the DataLoader draws samples with replacement, but a run counts every sample once an epoch")
    if not isinstance(sampler, (RandomSampler, SequentialSampler)):
        raise MisusedRun(
            f"the DataLoader has a {type(sampler).__name__}, but a run orders the samples itself, in a different random"
            " order each epoch; delete the sampler. For other frequencies, weight the loss, or draw the indices once,"
            " before the run, with a generator of a fixed seed, and give it a Subset(dataset, indices)"
        )
    if batch_size is None or loader.collate_fn is None:
        raise MisusedRun("the DataLoader has no batch_size; give it one, which is the number of samples of a step")
    return LoaderParts(loader.dataset, loader.collate_fn, batch_size, loader.num_workers)
