"""The time of a step of training one model: by Pangea with its services, and by torch over batches that are already in
memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.rundir.json_lines import JsonLinesFile
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from tools.bench import orchestrator_metrics, processes, rows, run_settings
from tools.bench.benchmark import Pair, Sample
from tools.bench.programs import allocator


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
        shards: forward and backward passes of a step, over all processes; torch accumulates the gradients of those of
            one process.
        tuned: whether torch runs with the allocator as Pangea sets it; ignored for Pangea.
        checkpoint_steps: how often Pangea takes a checkpoint; 0 for never.
    """

    ours: bool
    processes: int
    shards: int = 8
    tuned: bool = False
    checkpoint_steps: int = 0


@dataclass(frozen=True)
class TrainingBenchmark:
    """One task, several setups."""

    name: str
    measures: str
    task: Task
    setups: Mapping[str, Setup]
    pairs: Sequence[Pair]
    tolerance: float
    unit: str = "ms"
    more_is_better: bool = False

    @property
    def contenders(self) -> Sequence[str]:
        """The names of the setups."""
        return list(self.setups)

    def run(self, contender: str, folder: Path) -> Sample:
        """Trains from the first to the last step; the time is that of the steps after the warm-up, without start and
        end of the processes."""
        file = folder / "data"
        if self.task.make_data is not None:
            self.task.make_data(file)
        setup = self.setups[contender]
        options = RunOptions(
            epochs=self.task.epochs,
            batch_size=self.task.batch_size,
            shards=setup.shards,
            checkpoint_steps=setup.checkpoint_steps,
            checkpoint_seconds=0.0,
        )
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
            "micro_batches": setup.shards // setup.processes,
        }

    def _pangea(self, setup: Setup, services: EmbeddedServices, folder: Path) -> Sample:
        environment = {
            "PANGEA_ORCHESTRATOR": services.orchestrator,
            "PANGEA_DATA": services.data,
            "PANGEA_TORCH_THREADS": "1",
        }
        children = {
            "orchestrator": services.orchestrator_child.process.pid,
            "data service": services.data_child.process.pid,
        }
        job = {**self._job(setup, services), "services": children}
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
        told = orchestrator_metrics.read(services.status)
        went["ledger ms"] = 1e3 * told.mean_commit_seconds
        losses = [line["loss"] for line in metrics.lines]
        settings = {"transport": told.transport, **run_settings.of_ledger(folder / "run")}
        return self._sample(answers, losses, sum(line["samples"] for line in metrics.lines), went, settings)

    def _torch(self, setup: Setup, services: EmbeddedServices, folder: Path) -> Sample:
        job = self._job(setup, services)
        answers = processes.results(
            folder,
            [
                processes.start("train_torch", folder, rank, job, **allocator.environment(tuned=setup.tuned))
                for rank in range(setup.processes)
            ],
        )
        if any(answer["settings"]["malloc"] != allocator.name(tuned=setup.tuned) for answer in answers):
            raise RuntimeError(
                f"{self.name}: a peer ran with another allocator than asked for: {answers[0]['settings']}"
            )
        losses = [statistics.fmean(parts) for parts in zip(*(answer["losses"] for answer in answers), strict=True)]
        return self._sample(answers, losses, sum(answer["samples"] for answer in answers), {}, {})

    def _sample(
        self,
        answers: list[dict[str, Any]],
        losses: list[float],
        samples: int,
        went: Mapping[str, float],
        settings: Mapping[str, str],
    ) -> Sample:
        """The time from the beginning of the first timed step to that of the last one, each taken from the process that
        began first; and the processor time of all processes between them."""
        first, last, count = str(self.task.warm_up), str(len(losses) - 1), len(losses) - 1 - self.task.warm_up
        began = {step: [answer["began"][step] for answer in answers] for step in (first, last)}
        start, end = (min(marks["seconds"] for marks in began[step]) for step in (first, last))
        milliseconds = 1e3 * (end - start) / count
        cores = {
            clock: 1e3 * sum(b[clock] - a[clock] for a, b in zip(*began.values(), strict=True) if clock in a) / count
            for clock in began[first][0]
            if clock != "seconds"
        }
        details = {"samples/s": 1e3 / milliseconds * self.task.batch_size, **went}
        told = {**answers[0]["settings"], **settings}
        return Sample(milliseconds, samples, statistics.fmean(losses), details, cores, told)


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
