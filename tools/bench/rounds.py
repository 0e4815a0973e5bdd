"""Runs the contenders of a benchmark alternately (A B A B ...), and verifies that they did the same work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.benchmark import Benchmark, Pair, Sample
from tools.bench.figures import Spread, speedups, spread


class DifferentWork(RuntimeError):
    """Two contenders did not do the same work, so their speeds cannot be compared."""


@dataclass(frozen=True)
class Result:
    """A benchmark that was run.

    Attributes:
        suite: the suite that it belongs to.
        loads: load average of one minute at its start and at its end; the second includes the benchmark itself.
        samples: those of each contender, by round.
    """

    suite: str
    benchmark: Benchmark
    loads: tuple[float, float]
    samples: dict[str, list[Sample]]

    def values(self, contender: str) -> list[float]:
        """The values of a contender in the benchmark's unit, by round."""
        return [sample.value for sample in self.samples[contender]]

    def speedup(self, pair: Pair) -> Spread:
        """How many times as fast ours is as the peer, over the rounds."""
        return spread(
            speedups(self.values(pair.ours), self.values(pair.peer), more_is_better=self.benchmark.more_is_better)
        )

    def difference(self, pair: Pair) -> Spread:
        """Ours minus the peer in the benchmark's unit, over the rounds."""
        both = zip(self.values(pair.ours), self.values(pair.peer), strict=True)
        return spread([ours - peer for ours, peer in both])

    def details(self, contender: str) -> dict[str, float]:
        """Medians over the rounds."""
        return _medians([sample.details for sample in self.samples[contender]])

    def cores(self, contender: str) -> dict[str, float]:
        """Medians over the rounds."""
        return _medians([sample.cores for sample in self.samples[contender]])

    def settings(self, contender: str) -> dict[str, str]:
        """Those of all rounds: `measure` refuses rounds that differ."""
        return dict(self.samples[contender][0].settings)


def measure(suite: str, benchmark: Benchmark, rounds: int, folder: Path, on_turn: Callable[[str], None]) -> Result:
    """Runs a benchmark.

    Args:
        rounds: at least 1.
        folder: for files; what a turn leaves is removed before the next one.
        on_turn: called with a description of what is measured next.
    Raises:
        DifferentWork: naming what each contender did.
        ChildFailed: as `Benchmark.run`.
    """
    load = os.getloadavg()[0]
    samples: dict[str, list[Sample]] = {contender: [] for contender in benchmark.contenders}
    for number in range(rounds):
        for contender in benchmark.contenders:
            on_turn(f"{suite}, {benchmark.name}, round {number + 1} of {rounds}: {contender}")
            place = folder / "turn"
            place.mkdir(parents=True)
            samples[contender].append(benchmark.run(contender, place))
            shutil.rmtree(place)
            check_same_settings(benchmark, contender, samples[contender][0], samples[contender][-1])
        for pair in benchmark.pairs:
            check_same_work(benchmark, pair, samples[pair.ours][-1], samples[pair.peer][-1])
    return Result(suite, benchmark, (load, os.getloadavg()[0]), samples)


def check_same_settings(benchmark: Benchmark, contender: str, first: Sample, now: Sample) -> None:
    """Raises:
    DifferentWork: a contender ran with other settings than in the first round, such as another transport.
    """
    if first.settings != now.settings:
        raise DifferentWork(
            f"{benchmark.name}: {contender} ran with {dict(first.settings)} in the first round and with "
            f"{dict(now.settings)} later; find out why before you compare"
        )


def check_same_work(benchmark: Benchmark, pair: Pair, ours: Sample, peer: Sample) -> None:
    """Raises:
    DifferentWork: the amount of work differs, or the outcome differs by more than the tolerance.
    """
    if ours.work != peer.work:
        raise DifferentWork(
            f"{benchmark.name}: {pair.ours} did {ours.work} units of work and {pair.peer} {peer.work}; give both the "
            f"same size"
        )
    if not abs(ours.outcome - peer.outcome) <= benchmark.tolerance * max(abs(ours.outcome), abs(peer.outcome)):
        raise DifferentWork(
            f"{benchmark.name}: {pair.ours} got {ours.outcome} and {pair.peer} got {peer.outcome}, which differ by "
            f"more than {benchmark.tolerance:.3%}"
        )


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: spread([values[name] for values in rounds]).median for name in rounds[0]}
