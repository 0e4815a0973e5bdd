"""Suite `shards`: what a step of a small model costs beyond its arithmetic, and what it costs one worker that a step is
cut into shards, which is what makes the bits independent of the number of workers."""

from __future__ import annotations

from collections.abc import Sequence

from tools.bench.benchmark import Benchmark, Goal, Pair
from tools.bench.suites import train
from tools.bench.suites.training import Setup, Task, TrainingBenchmark

_ONE, _EIGHT, _SIXTEEN = "pangea, 1 shard", "pangea, 8 shards", "pangea, 16 shards"
_TORCH, _WHOLE = "torch, 8 micro-batches", "torch, whole batches"
_SETUPS = {
    _ONE: Setup(ours=True, processes=1, shards=1),
    _EIGHT: Setup(ours=True, processes=1, shards=8),
    _SIXTEEN: Setup(ours=True, processes=1, shards=16),
    _TORCH: Setup(ours=False, processes=1, shards=8),
    _WHOLE: Setup(ours=False, processes=1, shards=1),
}
_MEASURES = (
    "A step of training the digit classifier of the demo with one worker of one thread, batches of 64: as one forward "
    "and backward pass over all of its batch, as several over an equal part of it each, and by torch alone. The "
    "difference to torch with as many passes is what everything else costs: services, round trips, the ledger. "
    "Dropout draws other numbers for shards than for a whole batch."
)


def _benchmark(task: Task, pairs: Sequence[Pair]) -> TrainingBenchmark:
    return TrainingBenchmark("digits", _MEASURES, task, train.setups(pairs, _SETUPS), pairs, 0.1)


def benchmarks(quick: bool) -> list[Benchmark]:
    """The digits of the demo, of which a step is short."""
    if quick:
        return [_benchmark(Task("digits", None, "digits", 512, 2, 1), [Pair(_EIGHT, _TORCH + train.TUNED)])]
    at_most_1_ms = Goal(1.0, "difference")
    pairs = [
        Pair(_EIGHT, _TORCH, at_most_1_ms),
        Pair(_EIGHT, _TORCH + train.TUNED, at_most_1_ms),
        Pair(_EIGHT, _ONE),
        Pair(_SIXTEEN, _ONE),
        Pair(_ONE, _WHOLE),
    ]
    return [_benchmark(Task("digits", None, "digits", 64, 4, 10), pairs)]
