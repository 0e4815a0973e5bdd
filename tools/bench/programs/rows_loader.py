"""Reads the same rows with torch's DataLoader, shuffled, with the number of worker processes that the job names."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.utils.data import DataLoader, Dataset

from tools.bench.programs import cores
from tools.bench.programs import job as jobs

Row = tuple[torch.Tensor, int]


class CsvRows(Dataset[Row]):
    """Finds a line by its offset and parses it on demand, as for a file that is larger than memory."""

    def __init__(self, file: Path) -> None:
        self._file, self._offsets = file, [0]
        with file.open("rb") as lines:
            for line in lines:
                self._offsets.append(self._offsets[-1] + len(line))
        values = numpy.loadtxt(file, delimiter=",", dtype=numpy.float64)[:, :-1]
        self._mean, self._deviation = numpy.float32(values.mean()), numpy.float32(values.std())
        self._stream: Any = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, number: int) -> Row:
        if self._stream is None:  # every worker process opens its own
            self._stream = self._file.open("rb")
        self._stream.seek(self._offsets[number])
        values = numpy.fromstring(self._stream.readline(), sep=",", dtype=numpy.float32)
        return torch.from_numpy((values[:-1] - self._mean) / self._deviation), int(values[-1])


class MemoryRows(Dataset[Row]):
    """Rows that were parsed and normalised beforehand."""

    def __init__(self, file: Path) -> None:
        values = numpy.loadtxt(file, delimiter=",", dtype=numpy.float64)
        x = values[:, :-1]
        self._x = torch.from_numpy(((x - x.mean()) / x.std()).astype(numpy.float32))
        self._y = [int(label) for label in values[:, -1]]

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, number: int) -> Row:
        return self._x[number], self._y[number]


def main() -> None:
    """Reads one epoch to warm up and check the values, then the timed ones; worker processes persist between epochs."""
    job = jobs.read()
    dataset: Dataset[Row] = MemoryRows(Path(job["file"])) if job["in_memory"] else CsvRows(Path(job["file"]))
    workers = job["workers"]
    loader = DataLoader(
        dataset, batch_size=job["batch_size"], shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    total, count, read = 0.0, 0, 0
    for x, _ in loader:
        total, count = total + float(x.double().abs().sum()), count + x.numel()
    helpers = [process.pid for process in multiprocessing.active_children() if process.pid is not None]
    before, started = _cores(helpers), time.perf_counter()
    for _ in range(job["epochs"]):
        for x, y in loader:
            assert len(x) == len(y)
            read += len(x)
    seconds = time.perf_counter() - started
    used = {name: seconds_used - before[name] for name, seconds_used in _cores(helpers).items()}
    jobs.answer(job, seconds=seconds, rows=read, mean=total / count, cores=used)


def _cores(helpers: list[int]) -> dict[str, float]:
    """Seconds of one core that this process and its worker processes have used."""
    return {"reader": cores.own(), **({"loaders": cores.used(helpers)} if helpers else {})}


if __name__ == "__main__":
    main()
