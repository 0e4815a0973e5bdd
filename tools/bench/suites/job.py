"""End to end: seconds from the command to its end, with everything that has to start, train, evaluate and stop in
between."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench import processes, run_settings
from tools.bench.benchmark import Goal, Pair, Sample
from tools.bench.suites import digits_jobs

_OURS = {"pangea train, 1 worker": 1, "pangea train, 2 workers": 2}
_TORCH = {"torch, 1 process": 1, "torchrun, DDP + Gloo, 2 processes": 2}
ALONE = Pair("pangea train, 1 worker", "torch, 1 process")
_PAIRS = (
    Pair("pangea train, 2 workers", "torchrun, DDP + Gloo, 2 processes", Goal(1.3)),
    Pair("pangea train, 2 workers", "torch, 1 process"),
    ALONE,
)


@dataclass(frozen=True)
class JobBenchmark:
    """The digits example over a number of epochs."""

    epochs: int
    name: str = "digits, whole job"
    measures: str = (
        "The digits example from the start of the command to its end: programs, services and torch start, every epoch "
        "is trained, held-out samples are evaluated, everything stops. "
        "Pangea keeps its ledger and writes its results; torch keeps nothing. One process of torch has a thread for "
        "each core, all others have one thread."
    )
    unit: str = "s"
    more_is_better: bool = False
    pairs: Sequence[Pair] = _PAIRS
    # Of the accuracy, which comes out of other random numbers.
    tolerance: float = 0.05

    @property
    def contenders(self) -> Sequence[str]:
        """Those of the pairs."""
        return list(dict.fromkeys(name for pair in self.pairs for name in (pair.ours, pair.peer)))

    def run(self, contender: str, folder: Path) -> Sample:
        """The outcome is the share of held-out samples that the model gets right."""
        used, started = _cores_of_children(), time.perf_counter()
        if contender in _TORCH:
            [answer] = processes.results(folder, [digits_jobs.torch(folder, _TORCH[contender], self.epochs)])
            seconds = time.perf_counter() - started
            cores = {"all processes": 1e3 * (_cores_of_children() - used)}
            return Sample(seconds, answer["samples"], answer["accuracy"], cores=cores)
        processes.wait_ended([digits_jobs.pangea(folder, _OURS[contender], self.epochs)])
        seconds = time.perf_counter() - started
        cores = {"all processes": 1e3 * (_cores_of_children() - used)}
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        accuracy = json.loads((folder / "run" / "result.json").read_text())["held_out_accuracy"]
        settings = run_settings.of_ledger(folder / "run")
        work = sum(line["samples"] for line in lines)
        return Sample(seconds, work, accuracy, {}, cores, settings)


def _cores_of_children() -> float:
    """Seconds of one core that all ended children of this process, and theirs, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
