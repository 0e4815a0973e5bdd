"""Suite `shards`: what it costs one worker that a step is cut into shards, which is what makes the bits independent of the number of workers."""

from __future__ import annotations

from collections.abc import Sequence

from tools.bench.benchmark import Benchmark, Pair
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, characters

_PLAIN = "torch, whole batches"
_MEASURES = (
    "Training {what} with one worker of one thread, batches of {batch}: a step as one forward and backward pass over all of its batch, as several over an equal part of it each, and by torch alone. "
    "Dropout draws other numbers for shards than for a whole batch."
)


def _benchmark(name: str, what: str, task: Task, counts: Sequence[int]) -> TrainingBenchmark:
    """Each number of shards against one shard, and one shard against torch."""
    named = {f"pangea, {count} shard{'s' if count > 1 else ''}": count for count in counts}
    one, *more = named
    setups = {contender: Setup(ours=True, processes=1, shards=count) for contender, count in named.items()} | {
        _PLAIN: Setup(ours=False, processes=1)
    }
    return TrainingBenchmark(
        name,
        _MEASURES.format(what=what, batch=task.batch_size),
        task,
        setups,
        [*(Pair(other, one) for other in more), Pair(one, _PLAIN)],
        0.1,
    )


def benchmarks(quick: bool) -> list[Benchmark]:
    """The digits of the demo, and a small transformer."""
    if quick:
        return [
            _benchmark("digits", "the digit classifier of the demo", Task("digits", None, "digits", 512, 2, 1), (1, 8))
        ]
    return [
        _benchmark(
            "digits", "the digit classifier of the demo", Task("digits", None, "digits", 64, 4, 10), (1, 4, 8, 16)
        ),
        _benchmark("transformer", "a transformer of 0.15 M parameters on 64 characters", characters(2560, 64), (1, 8)),
    ]
