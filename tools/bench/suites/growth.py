"""Suite `growth`: what the exchange of a step costs when more workers share the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench import run_settings
from tools.bench.benchmark import Benchmark, Goal, Pair, Sample
from tools.bench.suites import aggregate

# Until memory is reused: the orchestrator keeps some sums for workers that have to catch up.
_WARM_UP = 14


def _named(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


@dataclass(frozen=True)
class GrowthBenchmark:
    """A gradient that 1, 2, ... workers compute together, each an equal part of the shards of a step."""

    name: str
    elements: int
    times: int
    counts: Sequence[int]
    transport: str
    unit: str = "core-ms"
    more_is_better: bool = False
    tolerance: float = 1e9  # Workers add different numbers; aggregate compares the sums.

    @property
    def measures(self) -> str:
        """What is measured, in one sentence."""
        return (
            f"Processor time of the orchestrator and all workers for one exchange of {self.elements * 4 / 1e6:g} MB "
            f"through {self.transport}, at a fixed batch of {max(self.counts)} shards: W workers send one vector each, "
            "and with the sum W + 1 vectors are read. The goal is that the time grows no faster than these."
        )

    @property
    def contenders(self) -> Sequence[str]:
        """One of each number of workers."""
        return [_named(count) for count in self.counts]

    @property
    def pairs(self) -> Sequence[Pair]:
        """More workers against the fewest."""
        fewest, *more = self.counts
        return [Pair(_named(count), _named(fewest), Goal((fewest + 1) / (count + 1))) for count in more]

    def run(self, contender: str, folder: Path) -> Sample:
        """The value is the processor time; what the clock shows is a detail."""
        [count] = [count for count in self.counts if _named(count) == contender]
        shards = max(self.counts)
        _, sample = aggregate.exchange(
            folder, self.transport, self.elements, self.times, _WARM_UP, world=count, shards=shards
        )
        return Sample(
            sum(sample.cores.values()),
            sample.work,
            sample.outcome,
            {"ms": sample.value},
            sample.cores,
            sample.settings,
        )


def benchmarks(quick: bool) -> list[Benchmark]:
    """One size, through the default transport."""
    transport = run_settings.TRANSPORTS[0]
    if quick:
        return [GrowthBenchmark("1 MB", 250_000, 16, (1, 2), transport)]
    return [GrowthBenchmark("25 MB", 6_250_000, 34, (1, 2, 4, 8), transport)]
