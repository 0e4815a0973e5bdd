"""Suite `aggregate`: how long two workers take to add up a gradient, through the orchestrator or with Gloo."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea.rundir.layout import ORCHESTRATOR, port_file
from pangea.services.options import RunOptions
from pangea.services.programs import start_orchestrator
from tools.bench import processes
from tools.bench.benchmark import Benchmark, Pair, Sample

_WORLD = 2
_OURS, _GLOO = "pangea orchestrator", "Gloo all_reduce"


@dataclass(frozen=True)
class AggregateBenchmark:
    """A float32 gradient with a number of elements, added up a number of times."""

    name: str
    elements: int
    times: int
    warm_up: int = 2
    unit: str = "ms"
    more_is_better: bool = False
    contenders: Sequence[str] = (_OURS, _GLOO)
    pairs: Sequence[Pair] = (Pair(_OURS, _GLOO),)
    tolerance: float = 1e-9

    @property
    def measures(self) -> str:
        """What is timed, in one sentence."""
        return (
            f"Adding up a gradient of {self.elements * 4 / 1e6:g} MB of {_WORLD} workers: from the moment both have "
            f"theirs until the slower one has the sum. "
            "Through the orchestrator that includes a content hash on every side and the step's record in the ledger, on "
            "the disk."
        )

    def run(self, contender: str, folder: Path) -> Sample:
        """The median over the times after the warm-up, each that of the slower worker."""
        job = {"elements": self.elements, "times": self.times, "warm_up": self.warm_up, "world": _WORLD}
        if contender == _GLOO:
            return self._sample(folder, "exchange_gloo", job)
        (folder / "run" / "logs").mkdir(parents=True)
        orchestrator = start_orchestrator(
            folder / "run",
            "bench",
            RunOptions(epochs=1, batch_size=_WORLD, shards=_WORLD, seed=0, min_shard_samples=1, checkpoint_seconds=0),
        )
        try:
            listen = orchestrator.wait_ready(port_file(folder / "run", ORCHESTRATOR), processes.PATIENCE_SECONDS)[
                "listen"
            ]
            return self._sample(folder, "exchange_pangea", {**job, "orchestrator": listen})
        finally:
            orchestrator.stop()

    def _sample(self, folder: Path, program: str, job: Mapping[str, object]) -> Sample:
        answers = processes.results(folder, [processes.start(program, folder, rank, job) for rank in range(_WORLD)])
        slower = [max(both) for both in zip(*(answer["seconds"] for answer in answers), strict=True)]
        seconds = statistics.median(slower)
        return Sample(
            1e3 * seconds,
            len(slower) * self.elements,
            answers[0]["mean"],
            {"GB/s": self.elements * 4 / 1e9 / seconds, "slowest ms": 1e3 * max(slower)},
        )


def benchmarks(quick: bool) -> list[Benchmark]:
    """100 MB and 10 MB."""
    if quick:
        return [AggregateBenchmark("1 MB", 250_000, 4)]
    return [AggregateBenchmark("100 MB", 25_000_000, 10), AggregateBenchmark("10 MB", 2_500_000, 30)]
