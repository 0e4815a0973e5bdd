"""Suite `ledger`: how long the orchestrator takes to bring a step's record to the disk, with and without other work on
the machine."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea.services.child import Child
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from tools.bench import orchestrator_metrics, processes, run_settings
from tools.bench.benchmark import Benchmark, Goal, Pair, Sample

_OURS, _APPEND = "pangea ledger", "append + fsync"
_BATCH_SIZE = 64
# About those of a step with 8 shards. How long an fsync takes hardly depends on them; ours may be off by the tolerance,
# or the comparison ends.
_RECORD_BYTES = 1_735
# About what a step of the digits takes.
_STEP_SECONDS = 0.005


@dataclass(frozen=True)
class LedgerBenchmark:
    """A run of a number of epochs of the digits, with or without a program that keeps each core busy."""

    name: str
    epochs: int
    loaded: bool
    unit: str = "ms"
    more_is_better: bool = False
    contenders: Sequence[str] = (_OURS, _APPEND)
    pairs: Sequence[Pair] = (Pair(_OURS, _APPEND, Goal(0.9)),)
    tolerance: float = 0.5

    @property
    def measures(self) -> str:
        """What is timed, in one sentence."""
        beside = "while other programs keep every core busy" if self.loaded else "without other load"
        return (
            f"Mean time of a commit of the ledger of a run with one worker, from the orchestrator's /metrics, "
            f"{beside}; against a bare append of as many bytes and fsync as often, on the same disk."
        )

    def run(self, contender: str, folder: Path) -> Sample:
        """All commits of a run, or as many appends as it has steps."""
        busy = [processes.start("busy", folder, core, {}) for core in range(os.cpu_count() or 1)] if self.loaded else []
        try:
            return self._ledger(folder) if contender == _OURS else self._append(folder)
        finally:
            _end(busy)

    def _ledger(self, folder: Path) -> Sample:
        services = EmbeddedServices.start(
            RunOptions(epochs=self.epochs, batch_size=_BATCH_SIZE), run_dir=folder / "run"
        )
        try:
            job = {"model": "digits", "world": 1}
            processes.results(
                folder,
                [
                    processes.start(
                        "train_pangea",
                        folder,
                        0,
                        job,
                        PANGEA_ORCHESTRATOR=services.orchestrator,
                        PANGEA_DATA=services.data,
                    )
                ],
            )
            told = orchestrator_metrics.read(services.status)
        finally:
            services.stop()
        steps = len((folder / "run" / "metrics.jsonl").read_text().splitlines())
        settings = run_settings.of_ledger(folder / "run")
        return Sample(
            1e3 * told.mean_commit_seconds,
            steps,
            told.ledger_bytes / steps,
            {"commits": told.commits},
            settings=settings,
        )

    def _append(self, folder: Path) -> Sample:
        job = {
            "records": self.epochs * _steps_of_an_epoch(),
            "size": _RECORD_BYTES,
            "pause_seconds": _STEP_SECONDS,
        }
        [answer] = processes.results(folder, [processes.start("append", folder, 0, job)])
        seconds = answer["seconds"]
        return Sample(
            1e3 * statistics.fmean(seconds), len(seconds), answer["bytes"] / len(seconds), {"commits": len(seconds)}
        )


def _steps_of_an_epoch() -> int:
    """Of the digits: 1,438 samples to train on."""
    return -(-1438 // _BATCH_SIZE)


def _end(children: list[Child]) -> None:
    for child in children:
        child.stop()


def benchmarks(quick: bool) -> list[Benchmark]:
    """The same without and with load."""
    if quick:
        return [LedgerBenchmark("commit under load", 1, loaded=True)]
    return [LedgerBenchmark("commit", 40, loaded=False), LedgerBenchmark("commit under load", 10, loaded=True)]
