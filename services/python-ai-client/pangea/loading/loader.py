"""Loads the batches of the script's own dataset: in this process, or in loader processes, with the same bits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from pangea.loading.fetch import Loaded, Source, empty
from pangea.loading.identity import identify
from pangea.loading.nesting import map_tensors
from pangea.loading.options import LoaderOptions
from pangea.loading.pool import LoaderPool
from pangea.loading.requests import Plan, Request, Settings
from pangea.training.determinism import preserved_random_state


class Loader:
    """The loader of one worker.

    Attributes:
        info: the identity of the dataset.
        plan: which samples a request has.
    """

    def __init__(self, source: Source, options: LoaderOptions) -> None:
        """Starts the loader processes, and loads some samples to identify the dataset.

        Args:
            source: the datasets.
            options: of loading.
        Raises:
            LoadingFailed, UnhashableBatch: a sample cannot be used.
        """
        self._source, self._options = source, options
        self.plan = Plan(len(source.train))
        self._owner = os.getpid()
        self._pool = LoaderPool(source, options, self.plan) if options.processes else None
        self._pins = options.pin_memory and torch.cuda.is_available()
        try:
            self.info = identify(source, self._load_all)
        except BaseException:
            self.close()
            raise

    def _load_all(self, requests: Sequence[Request]) -> list[Loaded]:
        self.want(requests)
        loaded = [self.collect(request) for request in requests]
        self._drawn = frozenset[str]().union(*(batch.drawn for batch in loaded))
        return loaded

    def begin(self, settings: Settings, waiting: AbstractContextManager[None] | None = None) -> None:
        """Replaces the settings by those of the run that was joined.

        Args:
            settings: of the run.
            waiting: entered while only waiting for loader processes, so that a signal handler may raise.
        """
        self.plan = replace(self.plan, dataset_hash=self.info.hash, settings=settings, drawn=self._drawn)
        if self._pool is not None:
            self._pool.plan(self.plan)
            self._pool.waiting = waiting or self._pool.waiting

    @property
    def pids(self) -> list[int]:
        """The process IDs of the loader processes."""
        return self._pool.pids if self._pool is not None else []

    @property
    def depth(self) -> int:
        """How many batches are loaded ahead."""
        return self._usable.depth if self._usable is not None else 0

    @property
    def _usable(self) -> LoaderPool | None:
        """The pool, unless this is the forked child of a rehearsal, which loads in its own process."""
        return self._pool if os.getpid() == self._owner else None

    @property
    def wanted(self) -> list[Request]:
        """The batches that are loaded ahead, in their order."""
        return self._usable.wanted if self._usable is not None else []

    def want(self, requests: Sequence[Request]) -> None:
        """Lets batches be loaded ahead, in their order, and drops all others. Does nothing without loader processes."""
        if self._usable is not None:
            self._usable.want([request for request in requests if self.plan.size(request)])

    def collect(self, request: Request) -> Loaded:
        """Returns a batch, which is loaded now unless it was loaded ahead.

        The script's random generators are left alone, except by training batches without loader processes: for their
        shard the generators are seeded next.

        Raises:
            LoadingFailed: naming the sample; the cause has the traceback.
            UnhashableBatch: naming what cannot be hashed.
        """
        if not self.plan.size(request):
            return empty(self.plan)
        loaded = self._usable.collect(request) if self._usable is not None else self._load_here(request)
        return replace(loaded, data=map_tensors(loaded.data, torch.Tensor.pin_memory)) if self._pins else loaded

    def _load_here(self, request: Request) -> Loaded:
        if request.split == "train" and request.samples is None:
            return self._source.load(self.plan, request)
        with preserved_random_state():
            return self._source.load(self.plan, request)

    def close(self) -> None:
        """Ends the loader processes."""
        if self._pool is not None and os.getpid() == self._owner:
            self._pool.close()
