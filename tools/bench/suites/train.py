"""Suite `train`: Pangea with one and two workers, against one process of torch and against torch's DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Sequence

from tools.bench.benchmark import Benchmark, Pair
from tools.bench.suites import job
from tools.bench.suites.job import JobBenchmark
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, pixels

_ALONE, _TOGETHER = (
    Pair("pangea, 1 worker", "torch, 1 thread"),
    Pair("pangea, 2 workers", "torch DDP + Gloo, 2 processes"),
)
_SETUPS = {
    _ALONE.ours: Setup(ours=True, processes=1),
    _ALONE.peer: Setup(ours=False, processes=1),
    _TOGETHER.ours: Setup(ours=True, processes=2),
    _TOGETHER.peer: Setup(ours=False, processes=2),
}
_MEASURES = (
    "Training {what}, batches of {batch} over all workers: steps from the end of the warm-up to the beginning of the last one. Each worker and each process of DDP has one thread. "
    "Pangea reads batches from its data service and commits every step to its ledger; torch has its batches in memory."
)


def _steps(
    name: str,
    what: str,
    shape: str,
    samples: int,
    epochs: int,
    warm_up: int,
    pairs: Sequence[Pair] = (_ALONE, _TOGETHER),
) -> TrainingBenchmark:
    task = Task(name, pixels(samples), f"csv:{{file}},shape={shape},normalise=all,held_out=0", 128, epochs, warm_up)
    setups = {name: _SETUPS[name] for pair in pairs for name in (pair.ours, pair.peer)}
    return TrainingBenchmark(name, _MEASURES.format(what=what, batch=task.batch_size), task, setups, pairs, 0.001)


def benchmarks(quick: bool) -> list[Benchmark]:
    """A whole job, and the steps of an MLP (much to exchange) and of a CNN (little to exchange)."""
    if quick:
        return [
            JobBenchmark(4, pairs=[job.ALONE]),
            _steps("cnn", "a CNN of 0.02 M parameters", "1x28x28", 256, 3, 2, [_TOGETHER]),
        ]
    return [
        JobBenchmark(10),
        _steps("mlp", "an MLP of 5.82 M parameters", "784", 1280, 5, 10),
        _steps("cnn", "a CNN of 0.02 M parameters", "1x28x28", 1280, 8, 10),
    ]
