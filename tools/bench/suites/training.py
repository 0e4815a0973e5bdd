"""Steps per second of training one model: by Pangea with its services, and by torch over batches that are already in memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.rundir.json_lines import JsonLinesFile
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from tools.bench import processes, rows
from tools.bench.benchmark import Pair, Sample


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        model: of `models.RECIPES`.
        make_data: writes the data to a file, or None for a dataset that comes with the package.
        dataset: the dataset spec; {file} stands for what `make_data` wrote.
        batch_size: samples of a step, over all workers.
        epochs: of the run.
        warm_up: steps at the beginning that are not timed.
    """

    model: str
    make_data: Callable[[Path], None] | None
    dataset: str
    batch_size: int
    epochs: int
    warm_up: int


@dataclass(frozen=True)
class Setup:
    """The processes that train it.

    Attributes:
        ours: Pangea; otherwise torch alone.
        processes: that compute gradients, each with one thread.
        shards: of a step; ignored for torch.
    """

    ours: bool
    processes: int
    shards: int = 8


@dataclass(frozen=True)
class TrainingBenchmark:
    """One task, several setups."""

    name: str
    measures: str
    task: Task
    setups: Mapping[str, Setup]
    pairs: Sequence[Pair]
    tolerance: float
    unit: str = "steps/s"
    more_is_better: bool = True

    @property
    def contenders(self) -> Sequence[str]:
        """The names of the setups."""
        return list(self.setups)

    def run(self, contender: str, folder: Path) -> Sample:
        """Trains from the first to the last step; the time is that of the steps after the warm-up, without start and end of the processes."""
        file = folder / "data"
        if self.task.make_data is not None:
            self.task.make_data(file)
        setup = self.setups[contender]
        options = RunOptions(epochs=self.task.epochs, batch_size=self.task.batch_size, shards=setup.shards)
        services = EmbeddedServices.start(options, run_dir=folder / "run", dataset=self.task.dataset.format(file=file))
        try:
            train = self._pangea if setup.ours else self._torch
            return train(setup, services, folder)
        finally:
            services.stop()

    def _job(self, setup: Setup, services: EmbeddedServices) -> dict[str, Any]:
        return {
            "model": self.task.model,
            "batch_size": self.task.batch_size,
            "epochs": self.task.epochs,
            "world": setup.processes,
            "data": services.data,
        }

    def _pangea(self, setup: Setup, services: EmbeddedServices, folder: Path) -> Sample:
        environment = {
            "PANGEA_ORCHESTRATOR": services.orchestrator,
            "PANGEA_DATA": services.data,
            "PANGEA_TORCH_THREADS": "1",
        }
        job = self._job(setup, services)
        workers = [processes.start("train_pangea", folder, rank, job, **environment) for rank in range(setup.processes)]
        answers = processes.results(folder, workers)
        metrics = JsonLinesFile(folder / "run" / "metrics.jsonl")
        metrics.read_new()
        alone = [line["step"] for line in metrics.lines if line["workers"] != setup.processes]
        if alone:
            raise RuntimeError(f"{self.name}: steps {alone} were not computed by {setup.processes} workers")
        timed = metrics.lines[self.task.warm_up : -1]
        went = {
            f"{part} ms": 1e3 * statistics.fmean(line[f"{part}_seconds"] for line in timed)
            for part in ("data", "compute", "exchange")
        }
        losses = [line["loss"] for line in metrics.lines]
        return self._sample(answers, losses, sum(line["samples"] for line in metrics.lines), went)

    def _torch(self, setup: Setup, services: EmbeddedServices, folder: Path) -> Sample:
        job = self._job(setup, services)
        answers = processes.results(
            folder, [processes.start("train_torch", folder, rank, job) for rank in range(setup.processes)]
        )
        losses = [statistics.fmean(parts) for parts in zip(*(answer["losses"] for answer in answers), strict=True)]
        return self._sample(answers, losses, sum(answer["samples"] for answer in answers), {})

    def _sample(
        self, answers: list[dict[str, Any]], losses: list[float], samples: int, went: dict[str, float]
    ) -> Sample:
        """The time from the beginning of the first timed step to that of the last one, each taken from the process that began first."""
        first, last = (
            min(answer["began"][str(step)] for answer in answers if str(step) in answer["began"])
            for step in (self.task.warm_up, len(losses) - 1)
        )
        rate = (len(losses) - 1 - self.task.warm_up) / (last - first)
        details = {"samples/s": rate * self.task.batch_size, "ms/step": 1e3 / rate, **went}
        return Sample(rate, samples, statistics.fmean(losses), details)


def pixels(count: int) -> Callable[[Path], None]:
    """A number of random images of 28x28 pixels."""
    return lambda file: rows.pixels_csv(file, count, 784)


def characters(samples: int, batch_size: int) -> Task:
    """A small transformer, trained on a number of samples of 64 characters."""
    # The last character of a text is only a label.
    return Task(
        "characters",
        lambda file: rows.text(file, 64 * samples + 1),
        "text:{file},context=64,held_out=0",
        batch_size,
        1,
        4,
    )
