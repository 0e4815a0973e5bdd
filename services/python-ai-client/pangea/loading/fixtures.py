"""Datasets for tests, at the top of a module so that also processes that are spawned find them."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.utils.data import default_collate, get_worker_info

from pangea.loading.fetch import Source
from pangea.loading.identity import own_source
from pangea.loading.loader import Loader
from pangea.loading.options import LoaderOptions
from pangea.loading.requests import Request, Settings
from pangea.training.determinism import configure_torch

# As `pangea.join` does before it starts loader processes.
configure_torch()

SAMPLES = 50
SETTINGS = Settings(seed=5, batch_size=16, shards=4, min_shard_samples=2)


class Augmented(torch.utils.data.Dataset[Any]):
    """Draws from all three global generators: one number in every second sample, so that states would drift apart."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = torch.randn(3) if index % 2 else torch.zeros(3)
        return {
            "x": torch.full((3,), float(index)) + noise,
            "numpy": numpy.random.normal(size=2).astype(numpy.float32) * (index % 3),
            "python": random.random(),
            "name": f"sample {index}",
        }


class Told(Augmented):
    """Asks torch which loader process it is in."""

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        return (-1, 0, 0) if info is None else (info.id, info.num_workers, len(info.dataset))  # type: ignore[arg-type]


class Fails(Augmented):
    """Raises an error for one sample."""

    def __getitem__(self, index: int) -> Any:
        if index == 13:
            raise ValueError("the file of sample 13 is truncated")
        return index


class KillsItself(Augmented):
    """Kills its process when it loads sample 13: `times` times, which files in `folder` count."""

    def __init__(self, folder: Path, times: int) -> None:
        self._folder, self._times = folder, times

    def __getitem__(self, index: int) -> Any:
        if index == 13:
            died = len(list(self._folder.iterdir()))
            if died < self._times:
                (self._folder / f"{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def mixed(items: list[Any]) -> Any:
    """Collates, and draws random numbers too."""
    return {**default_collate(items), "mix": torch.rand(1)}


def made(dataset: Any, processes: int = 0, held_out: Any = None, collate: Any = None, **options: Any) -> Loader:
    """Returns a loader that has joined a run."""
    source: Source = own_source(dataset, held_out, collate)
    loader = Loader(source, LoaderOptions(processes, **options))
    loader.begin(SETTINGS)
    return loader


def epoch(number: int = 0) -> list[Request]:
    """Returns the requests of all shards of an epoch."""
    steps = -(-SAMPLES // SETTINGS.batch_size)
    return [Request("train", number, step, shard) for step in range(steps) for shard in range(SETTINGS.shards)]
