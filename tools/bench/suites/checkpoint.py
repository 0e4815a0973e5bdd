"""Suite `checkpoint`: how much longer steps take while a checkpoint is taken of a worker."""

from __future__ import annotations

from tools.bench.benchmark import Benchmark, Goal, Pair
from tools.bench.suites.training import Setup, Task, TrainingBenchmark, pixels

# Under 5 % more, as a ratio of speeds.
_GOAL = Goal(1 / 1.05)
_WITHOUT = "no checkpoints"


def benchmarks(quick: bool) -> list[Benchmark]:
    """A checkpoint of 95 MB: 11.9 M parameters and the momentum of each."""
    every = 4 if quick else 8
    with_them = f"a checkpoint every {every} steps"
    model, size = ("cnn", "0.2 MB") if quick else ("wide", "95 MB")
    task = Task(
        model,
        pixels(512 if quick else 1024),
        f"csv:{{file}},shape={'1x28x28' if quick else '784'},normalise=all,held_out=0",
        128,
        3 if quick else 5,
        2 if quick else 7,
    )
    measures = (
        "A step of training with one worker of one thread, mean over the steps after the warm-up, with a checkpoint of "
        f"{size} every {every} steps and without any. A checkpoint is taken of the worker, sent to the orchestrator, "
        "hashed and synced to the disk."
    )
    setups = {
        with_them: Setup(ours=True, processes=1, checkpoint_steps=every),
        _WITHOUT: Setup(ours=True, processes=1),
    }
    return [TrainingBenchmark(size, measures, task, setups, [Pair(with_them, _WITHOUT, _GOAL)], 0.001)]
