"""Reads the same datasets as rows_loader does, as a worker loads a script's own dataset: ordered, seeded and hashed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pangea.loading.identity import own_source
from pangea.loading.loader import Loader
from pangea.loading.options import LoaderOptions
from pangea.loading.requests import Request, Settings
from tools.bench.programs import cores
from tools.bench.programs import job as jobs
from tools.bench.programs.rows_loader import CsvRows, MemoryRows


def batches(loader: Loader, epoch: int, steps: int) -> Iterator[Any]:
    """The batches of an epoch; those of the next one are loaded ahead too, as a worker does."""
    requests = [Request("train", number, step, 0) for number in (epoch, epoch + 1) for step in range(steps)]
    loader.want(requests)
    for request in requests[:steps]:
        yield loader.collect(request).data


def main() -> None:
    """Reads one epoch to warm up and check the values, then the timed ones."""
    job = jobs.read()
    dataset: Any = MemoryRows(Path(job["file"])) if job["in_memory"] else CsvRows(Path(job["file"]))
    loader = Loader(own_source(dataset, None, None), LoaderOptions(job["workers"]))
    loader.begin(Settings(seed=0, batch_size=job["batch_size"]))
    steps = -(-len(dataset) // job["batch_size"])
    total, count, read = 0.0, 0, 0
    for x, _ in batches(loader, 0, steps):
        total, count = total + float(x.double().abs().sum()), count + x.numel()
    before, started = _cores(loader), time.perf_counter()
    for epoch in range(1, job["epochs"] + 1):
        for x, y in batches(loader, epoch, steps):
            assert len(x) == len(y)
            read += len(x)
    seconds = time.perf_counter() - started
    used = {name: seconds_used - before[name] for name, seconds_used in _cores(loader).items()}
    loader.close()
    jobs.answer(job, seconds=seconds, rows=read, mean=total / count, cores=used)


def _cores(loader: Loader) -> dict[str, float]:
    """Seconds of one core that this process and its loader processes have used."""
    return {"reader": cores.own(), **({"loaders": cores.used(loader.pids)} if loader.pids else {})}


if __name__ == "__main__":
    main()
