"""Loads one batch in this process: its samples, each with its own random numbers, collated and hashed."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import threadpoolctl
import torch

from pangea.loading.canonical import UnhashableBatch, batch_hash
from pangea.loading.nesting import map_tensors, settle
from pangea.loading.requests import Plan, Request
from pangea.loading.seeding import Seeds

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Loaded:
    """A loaded batch.

    Attributes:
        data: what `collate_fn` made; None for an empty shard.
        samples: the indices of its samples.
        hash: its content hash.
        drawn: the generators that its samples have drawn from, or were seeded in case they do.
    """

    data: Any
    samples: Sequence[int]
    hash: bytes
    drawn: frozenset[str] = frozenset()


class LoadingFailed(RuntimeError):
    """The dataset or `collate_fn` raised an error; the message names the sample, the cause has the traceback.

    Not an error of Pangea, whose traceback would be left out: the user needs it.
    """


class RemoteError(Exception):
    """An error in a loader process, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True)
class Failure:
    """An error as a loader process sends it: its kind, its message, and the traceback as text."""

    kind: type[LoadingFailed | UnhashableBatch]
    message: str
    traceback: str

    @classmethod
    def of(cls, error: Exception, what: str = "") -> Failure:
        """Describes an error; `what` says what failed, unless the error does."""
        text = "".join(traceback.format_exception(error.__cause__ or error))
        if isinstance(error, (LoadingFailed, UnhashableBatch)):
            return cls(type(error), str(error), text)
        return cls(LoadingFailed, f"{what}: {type(error).__name__}: {error}", text)

    def as_error(self) -> LoadingFailed | UnhashableBatch:
        """Returns the error for the process of the script, with the original traceback as its cause."""
        error = self.kind(self.message)
        error.__cause__ = RemoteError(self.traceback)
        return error


@dataclass(frozen=True)
class Source:
    """The script's datasets.

    Attributes:
        train, held_out: with `__len__` and `__getitem__`; None for no held-out samples.
        collate: makes a batch of samples.
        name: of the training dataset.
    """

    train: Any
    held_out: Any
    collate: Collate
    name: str

    def load(self, plan: Plan, request: Request) -> Loaded:
        """Loads a batch. Afterwards, the random generators of this process are in a different state.

        Raises:
            LoadingFailed: naming the sample or the batch.
            UnhashableBatch: naming what the batch's hash cannot cover.
        """
        samples = plan.samples(request)
        if not samples:
            return empty(plan)
        dataset = self.train if request.split == "train" else self.held_out
        seeds = Seeds(plan.drawn)
        # What surrounds the script's loop does not surround a loader process.
        with _one_thread(), torch.autocast("cpu", enabled=False), torch.set_grad_enabled(True):
            items = [self._sample(dataset, sample, plan, request, seeds) for sample in samples]
            data = seeds.call(plan.collate_seed(request), lambda: self._collated(items, samples, request))
        return Loaded(data, samples, batch_hash(data, samples, plan.settings.content_hash), frozenset(seeds.drawn))

    def _sample(self, dataset: Any, sample: int, plan: Plan, request: Request, seeds: Seeds) -> Any:
        try:
            return seeds.call(plan.sample_seed(request, sample), lambda: dataset[sample])
        except Exception as error:
            raise LoadingFailed(
                f"sample {sample} of the {_place(self.name, request)} could not be loaded in epoch {request.epoch}:"
                f" {type(error).__name__}: {error}"
            ) from error

    def _collated(self, items: list[Any], samples: Sequence[int], request: Request) -> Any:
        try:
            return map_tensors(self.collate(items), settle)
        except Exception as error:
            shown = ", ".join(map(str, samples[:8])) + (", ..." if len(samples) > 8 else "")
            hint = _collate_hint(error)
            raise LoadingFailed(
                f"collate_fn could not make a batch of {len(samples)} samples ({shown}) of the"
                f" {_place(self.name, request)}: {type(error).__name__}: {error}{hint}"
            ) from error


def _place(name: str, request: Request) -> str:
    return f"dataset {name}" if request.split == "train" else "held-out dataset"


def _collate_hint(error: Exception) -> str:
    if "equal size" in str(error):
        return ". Samples of different shapes need a collate_fn that pads them: pangea.join(..., collate_fn=...)"
    return ""


def empty(plan: Plan) -> Loaded:
    """Returns the batch of a shard without samples, which nothing is loaded for."""
    return Loaded(None, (), batch_hash(None, (), plan.settings.content_hash))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Loads with one thread of torch and of the BLAS, as a loader process does: their number can change bits."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    # Finding them takes milliseconds.
    return threadpoolctl.ThreadpoolController()
