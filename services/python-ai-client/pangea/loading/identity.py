"""What can be a script's own dataset, and its identity, which the orchestrator compares between workers."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from pangea import _native
from pangea.contract import DataType
from pangea.errors import MisusedRun
from pangea.loading.fetch import Collate, Loaded, Source
from pangea.loading.requests import Request

# The samples of each dataset that its identity covers, at equal distances, with the first and the last one.
_PROBES = 8
# Indices are 32-bit numbers in the order of an epoch.
_MAX_SAMPLES = (1 << 32) - 1
_MAX_NAME_BYTES = 128
# Those of the schema; a dataset may have others.
_KNOWN_DTYPES = [kind.name.lower() for kind in DataType if kind is not DataType.UNSPECIFIED]
_NO_TENSOR: tuple[_native.DType, tuple[int, ...]] = ("uint8", (0,))


def own_source(dataset: Any, held_out: Any, collate_fn: Collate | None) -> Source:
    """Checks what `pangea.join` was given.

    Raises:
        MisusedRun: saying why it is not a dataset that a run can use, and what to give instead.
    """
    _check(dataset, "dataset")
    if held_out is not None:
        _check(held_out, "held_out")
    if len(dataset) == 0:
        raise MisusedRun(f"pangea.join(dataset=...) was given a {_name(dataset)} without samples")
    return Source(dataset, held_out, collate_fn or default_collate, _name(dataset))


def _check(dataset: Any, argument: str) -> None:
    if isinstance(dataset, DataLoader):
        raise MisusedRun(
            f"pangea.join({argument}=...) was given a DataLoader; give it the loader's dataset and collate_fn"
            f" ({argument}=loader.dataset, collate_fn=loader.collate_fn): the run decides which samples a batch has"
            f"{_about_sampler(dataset)}"
        )
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise MisusedRun(
            f"pangea.join({argument}=...) was given a {_name(dataset)}, which has no length and no samples by index, so"
            " a run could neither divide it between workers nor count every sample once. Give it a map-style dataset"
            " (__len__ and __getitem__): list(dataset) if it fits into memory, a dataset that is not streamed"
            " (streaming=False in Hugging Face's datasets), or files with an index"
        )
    if len(dataset) > _MAX_SAMPLES:
        raise MisusedRun(f"pangea.join({argument}=...) has {len(dataset)} samples; at most {_MAX_SAMPLES} are possible")


def _about_sampler(loader: DataLoader[Any]) -> str:
    """Returns what to do instead of a sampler that does more than to shuffle; empty if the loader has none."""
    if isinstance(loader.sampler, (RandomSampler, SequentialSampler, type(None))):
        return ""
    return (
        f". Its {type(loader.sampler).__name__} has no counterpart, because a run counts each sample once an epoch:"
        " weight the loss instead (run.step(loss, weight=...)), or draw the indices once, before the run, with a"
        " generator of a fixed seed, and give Subset(dataset, indices)"
    )


def _name(dataset: Any) -> str:
    name = type(dataset).__qualname__
    if isinstance(dataset, Subset):
        name = f"{name} of {_name(dataset.dataset)}"
    return name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")


def probes(samples: int) -> list[int]:
    """Returns the indices of the samples that the identity of a dataset covers."""
    return sorted({place * (samples - 1) // (_PROBES - 1) for place in range(_PROBES)}) if samples else []


def identify(source: Source, load: Callable[[Sequence[Request]], Sequence[Loaded]]) -> _native.DatasetInfo:
    """Returns what the orchestrator learns about the dataset.

    The hash is SHA-256 over name, lengths, and the hashes of some samples of both datasets, each collated alone.

    Args:
        source: the datasets.
        load: loads requests, in their order.
    """
    train, held_out = len(source.train), len(source.held_out) if source.held_out is not None else 0
    requests = [Request("train", 0, 0, 0, (sample,)) for sample in probes(train)]
    requests += [Request("heldOut", 0, 0, 0, (sample,)) for sample in probes(held_out)]
    loaded = load(requests)
    name = source.name.encode()
    digest = hashlib.sha256(b"pangea/own-dataset/1" + struct.pack("<QQQ", len(name), train, held_out) + name)
    for batch in loaded:
        digest.update(batch.hash)
    features, labels = _specs(loaded[0].data)
    return _native.DatasetInfo(
        name=source.name,
        hash=digest.digest(),
        train_samples=train,
        held_out_samples=held_out,
        classes=0,
        features=features,
        labels=labels,
    )


def _specs(data: Any) -> tuple[tuple[_native.DType, Sequence[int]], tuple[_native.DType, Sequence[int]]]:
    """Returns dtype and shape of one sample of a pair of tensors; placeholders if a batch is something else."""
    pair = data if isinstance(data, (list, tuple)) and len(data) == 2 else (None, None)
    first, second = (_spec(part) for part in pair)
    return first, second


def _spec(part: Any) -> tuple[_native.DType, Sequence[int]]:
    name = str(part.dtype).removeprefix("torch.") if isinstance(part, torch.Tensor) else ""
    if name not in _KNOWN_DTYPES or part.dim() < 1:
        return _NO_TENSOR
    return name, tuple(part.shape[1:])  # type: ignore[return-value]
