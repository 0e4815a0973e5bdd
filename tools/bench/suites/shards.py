"""Suite `shards`: what it costs one worker that a step is cut into 8 shards, which is what makes the bits independent of the number of workers."""

from __future__ import annotations

from tools.bench.benchmark import Benchmark, Pair
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, characters

_EIGHT, _ONE, _PLAIN = "pangea, 8 shards", "pangea, 1 shard", "torch, whole batches"
_SETUPS = {
    _EIGHT: Setup(ours=True, processes=1),
    _ONE: Setup(ours=True, processes=1, shards=1),
    _PLAIN: Setup(ours=False, processes=1),
}
_PAIRS = [Pair(_EIGHT, _ONE), Pair(_ONE, _PLAIN), Pair(_EIGHT, _PLAIN)]
_MEASURES = "Training {what} with one worker of one thread, batches of {batch}: a step as 8 forward and backward passes over an eighth of the batch, as one over all of it, and by torch alone."


def benchmarks(quick: bool) -> list[Benchmark]:
    """The digits of the demo, and a small transformer. Both have dropout, which draws other numbers for shards than for a whole batch."""
    tasks = [
        ("digits", "the digit classifier of the demo", Task("digits", None, "digits", 512 if quick else 64, 2 if quick else 4, 1 if quick else 10)),
        ("transformer", "a transformer of 0.15 M parameters on 64 characters", characters(384 if quick else 2560, 64)),
    ]
    return [TrainingBenchmark(name, _MEASURES.format(what=what, batch=task.batch_size), task, _SETUPS, _PAIRS, 0.1) for name, what, task in tasks]
