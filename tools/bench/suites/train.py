"""Suite `train`: Pangea with one and two workers, against one process of torch and against torch's DistributedDataParallel."""

from __future__ import annotations

from tools.bench.benchmark import Benchmark, Pair
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, pixels

_SETUPS = {
    "pangea, 1 worker": Setup(ours=True, processes=1),
    "torch, 1 thread": Setup(ours=False, processes=1),
    "pangea, 2 workers": Setup(ours=True, processes=2),
    "torch DDP + Gloo, 2 processes": Setup(ours=False, processes=2),
    "torch, a thread a core": Setup(ours=False, processes=1, threads=0),
}
_PAIRS = [
    Pair("pangea, 1 worker", "torch, 1 thread"),
    Pair("pangea, 2 workers", "torch DDP + Gloo, 2 processes"),
    Pair("pangea, 2 workers", "torch, a thread a core"),
]
_MEASURES = (
    "Training {what}, batches of {batch} over all workers: steps from the end of the warm-up to the beginning of the last one. Each worker and each process of DDP has one thread. "
    "Pangea reads batches from its data service and commits every step to its ledger; torch has its batches in memory."
)


def benchmarks(quick: bool) -> list[Benchmark]:
    """An MLP (much to exchange), a CNN (little to exchange), and the digits of the demo."""
    few = 256 if quick else 1280
    tasks: list[tuple[str, str, Task, float]] = [
        ("mlp", "an MLP of 5.82 M parameters", Task("mlp", pixels(few), "csv:{file},shape=784,held_out=0", 128, 3 if quick else 5, 2 if quick else 10), 0.001),
        ("cnn", "a CNN of 0.02 M parameters", Task("cnn", pixels(few), "csv:{file},shape=1x28x28,held_out=0", 128, 3 if quick else 8, 2 if quick else 10), 0.001),
        # Dropout draws other numbers for shards than for a whole batch.
        ("digits", "the digit classifier of the demo, with dropout", Task("digits", None, "digits", 512 if quick else 64, 2 if quick else 4, 1 if quick else 10), 0.1),
    ]
    return [TrainingBenchmark(name, _MEASURES.format(what=what, batch=task.batch_size), task, _SETUPS, _PAIRS, tolerance) for name, what, task, tolerance in tasks]
