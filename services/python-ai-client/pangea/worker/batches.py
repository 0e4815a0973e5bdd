"""Batches as a training loop sees them, and their source, the data service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy
import torch

from pangea.errors import MisusedRun
from pangea.loading.nesting import map_tensors
from pangea.training.determinism import preserved_random_state, shard_seed

if TYPE_CHECKING:
    from pangea import _native

    # Split, seed, epoch, step in the epoch, batch size, shard, shards, minimum samples of a shard, content hash.
    _Request = tuple[_native.Split, int, int, int, int, int, int, int, _native.ContentHash]

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
# Batches requested ahead of the current one: enough to hide the service's latency, few enough to bound memory.
_MAX_PREFETCHED = 32
FIRST_SAMPLES = 64

# Epoch and step within it, of a step of the run; None after the last one.
Schedule = Callable[[int], tuple[int, int] | None]


@dataclass(frozen=True)
class Batch:
    """The samples of one shard of one step.

    Attributes:
        data: what `collate_fn` made of the samples of the script's own dataset; of a data service, the pair of features
            [samples, ...features] and labels [samples, ...labels], which share the received memory, without a copy.
        sample_ids: int64 [samples], indices into the raw dataset.
        epoch, step, shard: where the batch belongs; `step` counts over the whole run.
        hash: content hash of the batch, as the ledger has it.
        seed: for all random numbers of this batch; a pure function of the run's seed, step and shard.
    """

    data: Any
    sample_ids: torch.Tensor
    epoch: int
    step: int
    shard: int
    hash: bytes
    seed: int = 0

    @property
    def x(self) -> Any:
        """The features: the first part of `data`, which must be a pair."""
        return self._pair("x")[0]

    @property
    def y(self) -> Any:
        """The labels: the second part of `data`, which must be a pair."""
        return self._pair("y")[1]

    def _pair(self, name: str) -> Any:
        if isinstance(self.data, (list, tuple)) and len(self.data) == 2:
            return self.data
        parts = f" of {len(self.data)}" if isinstance(self.data, (list, tuple, dict)) else ""
        raise MisusedRun(
            f"batch.{name} is a part of a pair, but collate_fn made a {type(self.data).__name__}{parts}: use batch.data"
        )

    def to(self, device: torch.device | str | int, *, non_blocking: bool = False) -> Batch:
        """Returns this batch with the tensors of `data` on `device`; `non_blocking` is that of `Tensor.to`."""
        return replace(self, data=map_tensors(self.data, lambda tensor: tensor.to(device, non_blocking=non_blocking)))

    @property
    def samples(self) -> int:
        """Number of samples; 0 for an empty shard."""
        return int(self.sample_ids.shape[0])

    def torch_generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Returns a new generator for this batch, with the same numbers on every worker and in any order of batches.

        Args:
            device: where the numbers are drawn; those of a GPU differ from those of the CPU.
        """
        return torch.Generator(device).manual_seed(self.seed)

    def numpy_generator(self) -> numpy.random.Generator:
        """Returns the numpy equivalent of `torch_generator`."""
        return numpy.random.default_rng(self.seed)


def as_tensor(view: _native.TensorView) -> torch.Tensor:
    """Returns a torch tensor that shares the received memory and keeps it alive."""
    dtype = _DTYPES[view.dtype]
    if len(view.buffer) == 0:
        return torch.empty(view.shape, dtype=dtype)
    return torch.frombuffer(view.buffer, dtype=dtype).view(view.shape)


def _batch(received: _native.Batch, step: int, seed: int) -> Batch:
    return Batch(
        data=(as_tensor(received.features), as_tensor(received.labels)),
        sample_ids=as_tensor(received.sample_ids),
        epoch=received.epoch,
        step=step,
        shard=received.shard,
        hash=received.hash,
        seed=shard_seed(seed, step, received.shard),
    )


class BatchSource:
    """Requests the batches of a lease from the data service, ahead of their use, and early those of the next one.

    Shards stay with a worker while no worker joins or leaves. So when a lease is half done, the batches of the same
    shards of the next step are requested, before the orchestrator has leased them. If it leases others, at most one
    step's batches were requested in vain.

    Args:
        client: of the data service.
        schedule: epoch and step within it, of a step of the run; None after the last one.
        waiting: entered while only waiting for the service.
    """

    def __init__(
        self,
        client: _native.DataClient,
        settings: _native.JoinReply,
        schedule: Schedule,
        waiting: AbstractContextManager[None] | None = None,
    ) -> None:
        self._client, self._settings, self._schedule = client, settings, schedule
        self._waiting = waiting
        self._last: _Prefetching | None = None

    def training(self, epoch: int, epoch_step: int, step: int, shards: list[int], done: int = 0) -> Iterator[Batch]:
        """Returns an iterator over the batches of `shards` of one step, in that order, without the first `done`."""
        requests = self._requests(epoch, epoch_step, shards)[done:]
        following = self._schedule(step + 1)
        early = [] if following is None else self._requests(*following, shards)
        if self._last is not None and (uncollected := self._last.uncollected()) != requests:
            wanted = {*requests, *early}
            for request in uncollected:
                if request not in wanted:
                    self._client.discard(*request)
        self._last = _Prefetching(self._client, requests, step, self._settings.seed, early, self._waiting)
        return self._last

    def _requests(self, epoch: int, epoch_step: int, shards: list[int]) -> list[_Request]:
        run = self._settings
        return [
            (
                "train",
                run.seed,
                epoch,
                epoch_step,
                run.batch_size,
                shard,
                run.shards,
                run.min_shard_samples,
                run.content_hash,
            )
            for shard in shards
        ]


def held_out(client: _native.DataClient, samples: int, batch_size: int) -> Iterator[Batch]:
    """Yields all held-out samples in dataset order, `batch_size` at a time; restores the random state at the end."""
    requests: list[_Request] = [
        ("heldOut", 0, 0, step, batch_size, 0, 1, 0, "xxh3Tree") for step in range(-(-samples // batch_size))
    ]
    batches = _Prefetching(client, requests, 0, 0)
    with preserved_random_state():
        yield from batches


def first_batch(client: _native.DataClient, samples: int) -> Batch:
    """Returns the first training samples, at most 64: the same for every worker, at the start and after a resume."""
    request: _Request = ("train", 0, 0, 0, min(samples, FIRST_SAMPLES), 0, 1, 0, "xxh3Tree")
    return next(_Prefetching(client, [request], 0, 0))


class _Prefetching:
    """An iterator over batches that keeps requests for the next ones in flight.

    Args:
        client: of the data service.
        requests: of the batches, in their order.
        step: that they belong to.
        seed: of the run.
        early: requests for what will probably follow; they are made once half of the batches were delivered.
        waiting: entered while only waiting for the service.
    """

    def __init__(
        self,
        client: _native.DataClient,
        requests: list[_Request],
        step: int,
        seed: int,
        early: Sequence[_Request] = (),
        waiting: AbstractContextManager[None] | None = None,
    ) -> None:
        self._client, self._requests, self._step, self._seed = client, requests, step, seed
        self._all, self._waiting = [*requests, *early], waiting or nullcontext()
        self._requested = self._delivered = 0
        self._prefetch()

    def _prefetch(self) -> None:
        half_done = 2 * self._delivered >= len(self._requests)
        end = min(len(self._all) if half_done else len(self._requests), self._delivered + _MAX_PREFETCHED)
        if end > self._requested:
            self._client.prefetch_all(self._all[self._requested : end])
            self._requested = end

    def uncollected(self) -> list[_Request]:
        """Returns the requests whose batches were not delivered."""
        return self._all[self._delivered : self._requested]

    def __iter__(self) -> _Prefetching:
        return self

    def __next__(self) -> Batch:
        if self._delivered == len(self._requests):
            raise StopIteration
        with self._waiting:
            received = self._client.batch(*self._requests[self._delivered])
        self._delivered += 1
        self._prefetch()
        return _batch(received, self._step, self._seed)
