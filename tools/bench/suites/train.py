"""Suite `train`: Pangea with one and two workers, against one process of torch and against torch's
DistributedDataParallel.

A peer does the same forward and backward passes, over the same micro-batches, with the allocator as it is and as Pangea
sets it. Whole batches in one pass are less work for each sample, since the weights are read once instead of once a
micro-batch; they are a third peer and are named so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tools.bench.benchmark import Benchmark, Goal, Pair
from tools.bench.suites import job
from tools.bench.suites.job import JobBenchmark
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, characters, pixels

TUNED = ", tuned malloc"
_ALONE, _TOGETHER, _FEW = "pangea, 1 worker, 8 shards", "pangea, 2 workers, 8 shards", "pangea, 2 workers, 2 shards"
_TORCH, _DDP = "torch, 8 micro-batches", "DDP + Gloo, 2 x 4 micro-batches"
_WHOLE, _DDP_WHOLE = "torch, whole batches (less work)", "DDP + Gloo, 2 whole batches"
_SETUPS = {
    _ALONE: Setup(ours=True, processes=1, shards=8),
    _TOGETHER: Setup(ours=True, processes=2, shards=8),
    _FEW: Setup(ours=True, processes=2, shards=2),
    _TORCH: Setup(ours=False, processes=1, shards=8),
    _DDP: Setup(ours=False, processes=2, shards=8),
    _WHOLE: Setup(ours=False, processes=1, shards=1),
    _DDP_WHOLE: Setup(ours=False, processes=2, shards=2),
}
_MEASURES = (
    "A step of training {what}, batches of {batch} over all workers: from the end of the warm-up to the beginning of "
    "the last step. Each worker and each process of DDP has one thread. "
    "Pangea reads batches from its data service and commits every step to its ledger; torch has its batches in memory."
)


def against(ours: str, peer: str, goal: float) -> list[Pair]:
    """Ours against a peer with the allocator as it is, and as Pangea sets it."""
    return [Pair(ours, name, Goal(goal)) for name in (peer, peer + TUNED)]


def setups(pairs: Sequence[Pair], known: Mapping[str, Setup]) -> dict[str, Setup]:
    """The setups of all contenders of the pairs, each once; `known` has them without a tuned allocator."""
    names = dict.fromkeys(name for pair in pairs for name in (pair.ours, pair.peer))
    return {name: replace(known[name.removesuffix(TUNED)], tuned=name.endswith(TUNED)) for name in names}


def _steps(what: str, task: Task, pairs: Sequence[Pair], tolerance: float) -> TrainingBenchmark:
    measures = _MEASURES.format(what=what, batch=task.batch_size)
    return TrainingBenchmark(task.model, measures, task, setups(pairs, _SETUPS), pairs, tolerance)


def _images(model: str, shape: str, samples: int, epochs: int, warm_up: int) -> Task:
    make: Callable[[Path], None] = pixels(samples)
    return Task(model, make, f"csv:{{file}},shape={shape},normalise=all,held_out=0", 128, epochs, warm_up)


def _benchmarks() -> list[Benchmark]:
    less_work = [Pair(_ALONE, _WHOLE)]
    equal = [*against(_ALONE, _TORCH, 1.0), *against(_TOGETHER, _DDP, 1.0), *less_work]
    mlp = [
        *against(_ALONE, _TORCH, 0.95),
        *less_work,
        *against(_TOGETHER, _DDP, 1.1),
        *against(_FEW, _DDP_WHOLE, 1.1),
    ]
    return [
        JobBenchmark(10),
        _steps("an MLP of 5.82 M parameters", _images("mlp", "784", 640, 6, 6), mlp, 0.001),
        _steps("a CNN of 0.02 M parameters", _images("cnn", "1x28x28", 640, 8, 6), equal, 0.001),
        # Dropout draws other numbers for shards than for a whole batch.
        _steps("a transformer of 0.15 M parameters on 64 characters", characters(2048, 64), equal, 0.1),
    ]


def benchmarks(quick: bool) -> list[Benchmark]:
    """A whole job, and the steps of an MLP (much to exchange), of a CNN and of a transformer (little to exchange)."""
    if quick:
        small = _images("cnn", "1x28x28", 256, 3, 2)
        return [
            JobBenchmark(4, pairs=[job.ALONE]),
            _steps("a CNN of 0.02 M parameters", small, [Pair(_TOGETHER, _DDP + TUNED, Goal(1.0))], 0.001),
        ]
    return _benchmarks()
