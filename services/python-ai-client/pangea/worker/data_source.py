"""Where a worker's batches come from: a data service, or the script's own dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from pangea import _native
from pangea.errors import BrokenPromise
from pangea.loading.difference import first_difference
from pangea.loading.loader import Loader
from pangea.loading.nesting import map_tensors
from pangea.loading.requests import Request, Settings
from pangea.training.determinism import shard_seed
from pangea.worker.batches import FIRST_SAMPLES, Batch, BatchSource, Schedule, first_batch, held_out

_CAUSES = (
    "Known causes: the dataset or collate_fn has a random generator of its own (use those of torch, numpy or `random`,"
    " which are seeded for each sample), keeps a counter or a cache that changes a sample, changes its samples in"
    " place, or depends on the time or the process. `--allow-nondeterminism` continues without the promise of the same"
    " bits"
)


class DataSource(Protocol):
    """What a worker needs to know of its data."""

    @property
    def info(self) -> _native.DatasetInfo:
        """The identity of the dataset, which the orchestrator compares between workers."""

    def replicas(self) -> list[tuple[str, bool]]:
        """Returns the address of each data service, and whether it is connected now."""

    def first_batch(self) -> Batch:
        """Returns the first training samples, at most 64, which are the same for every worker, also after a resume."""

    def begin(self, settings: _native.JoinReply, schedule: Schedule, waiting: AbstractContextManager[None]) -> None:
        """Learns the settings of the run, before `training`; `waiting` is entered while only waiting for batches."""

    def training(self, epoch: int, epoch_step: int, step: int, shards: list[int], done: int = 0) -> Iterator[Batch]:
        """Returns an iterator over the batches of `shards` of one step, in that order, without the first `done`."""

    def check_repeatable(self, batch: Batch) -> None:
        """Checks that a training batch has the same bits whenever it is loaded.

        Raises:
            BrokenPromise: naming the part of the batch that differs, and known causes.
        """

    def held_out(self, batch_size: int) -> Iterator[Batch]:
        """Yields all held-out samples in dataset order, `batch_size` at a time; training's random numbers are kept."""

    def close(self) -> None:
        """Closes connections and ends processes."""


class ServiceData:
    """The data of a data service.

    Args:
        client: of the data service.
        connect: opens another connection, for the forked child of a rehearsal, which lacks the threads of the client.
    """

    def __init__(self, client: _native.DataClient, connect: Callable[[], _native.DataClient]) -> None:
        self._client, self._connect = client, connect
        self._owner = os.getpid()
        self._own: _native.DataClient | None = None
        self.info = client.dataset()

    def replicas(self) -> list[tuple[str, bool]]:
        """Returns the address of each replica, and whether it is connected now."""
        return self._client.replicas()

    def first_batch(self) -> Batch:
        """Returns the first training samples from the data service."""
        return first_batch(self._client, self.info.train_samples)

    def begin(self, settings: _native.JoinReply, schedule: Schedule, waiting: AbstractContextManager[None]) -> None:
        """Learns the settings of the run."""
        self._source = BatchSource(self._client, settings, schedule, waiting)

    def training(self, epoch: int, epoch_step: int, step: int, shards: list[int], done: int = 0) -> Iterator[Batch]:
        """Requests the batches of a lease, and early those of the next step."""
        return self._source.training(epoch, epoch_step, step, shards, done)

    def check_repeatable(self, batch: Batch) -> None:
        """Does nothing: every replica serves the same bytes, and each batch is hashed on its way."""

    def held_out(self, batch_size: int) -> Iterator[Batch]:
        """Yields all held-out samples; a forked child asks over a connection of its own."""
        client = self._client
        if os.getpid() != self._owner:
            self._own = self._own or self._connect()
            client = self._own
        return held_out(client, self.info.held_out_samples, batch_size)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class OwnData:
    """The script's own dataset. Batches of the next steps are loaded ahead, as far as the loader goes."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.info = loader.info

    def replicas(self) -> list[tuple[str, bool]]:
        """Returns nothing: there is no data service."""
        return []

    def first_batch(self) -> Batch:
        """Returns the first training samples in the order of seed 0."""
        count = min(self.info.train_samples, FIRST_SAMPLES)
        order = _native.Order(self.info.hash, 0, self.info.train_samples, count, 1)
        return self._batch(Request("train", 0, 0, 0, tuple(order.samples(0, 0, 0))), 0, 0)

    def begin(self, settings: _native.JoinReply, schedule: Schedule, waiting: AbstractContextManager[None]) -> None:
        """Learns the settings of the run."""
        self._schedule, self._seed = schedule, settings.seed
        run = Settings(
            settings.seed, settings.batch_size, settings.shards, settings.min_shard_samples, settings.content_hash
        )
        self._loader.begin(run, waiting)

    def training(self, epoch: int, epoch_step: int, step: int, shards: list[int], done: int = 0) -> Iterator[Batch]:
        """Loads the batches of a lease, and ahead those of the next steps."""
        requests = [Request("train", epoch, epoch_step, shard) for shard in shards[done:]]
        self._loader.want([*requests, *self._following(step, shards)])
        return (self._batch(request, step, self._seed) for request in requests)

    def _following(self, step: int, shards: Sequence[int]) -> list[Request]:
        """Returns the requests that probably follow: shards stay with a worker while no worker joins or leaves."""
        requests: list[Request] = []
        while len(requests) < self._loader.depth and (place := self._schedule(step := step + 1)) is not None:
            epoch, epoch_step = place
            requests += [Request("train", epoch, epoch_step, shard) for shard in shards]
        return requests

    def _batch(self, request: Request, step: int, seed: int) -> Batch:
        loaded = self._loader.collect(request)
        return Batch(
            data=loaded.data,
            sample_ids=torch.tensor(loaded.samples, dtype=torch.int64),
            epoch=request.epoch,
            step=step,
            shard=request.shard,
            hash=loaded.hash,
            seed=shard_seed(seed, step, request.shard),
        )

    def check_repeatable(self, batch: Batch) -> None:
        """Loads the batch a second time, after others, and compares the bits."""
        epoch, epoch_step = self._schedule(batch.step) or (0, 0)
        again = self._loader.collect(Request("train", epoch, epoch_step, batch.shard, repetition=1))
        if again.hash != batch.hash:
            # The batch may be on another device already.
            where = first_difference(map_tensors(batch.data, torch.Tensor.cpu), again.data)
            raise BrokenPromise(
                f"{where} of shard {batch.shard} of step {batch.step} has different bits when its samples are loaded a"
                f" second time, so the result would depend on which worker loads them. {_CAUSES}"
            )

    def held_out(self, batch_size: int) -> Iterator[Batch]:
        """Yields all held-out samples; what was loaded ahead for training is kept."""
        samples = self.info.held_out_samples
        requests = [
            Request("heldOut", 0, number, 0, range(first, min(first + batch_size, samples)))
            for number, first in enumerate(range(0, samples, batch_size))
        ]
        training = self._loader.wanted
        for number, request in enumerate(requests):
            self._loader.want([*requests[number : number + self._loader.depth], *training])
            yield self._batch(request, 0, 0)
        self._loader.want(training)

    def close(self) -> None:
        """Ends the loader processes."""
        self._loader.close()
