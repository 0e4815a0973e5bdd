"""Suite `recover`: how long a run stands still when one of its two workers is killed."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pangea.rundir.json_lines import JsonLinesFile
from pangea.services.child import Child
from tools.bench import processes
from tools.bench.benchmark import Benchmark, Pair, Sample
from tools.bench.suites import digits_jobs

_OURS, _TORCHRUN = "pangea train, 2 workers", "torchrun, 2 processes"
_TICK_SECONDS = 0.001
# More than any machine makes while this waits; the run is stopped when all has been seen.
_EPOCHS = 5_000


@dataclass(frozen=True)
class RecoverBenchmark:
    """A kill after a number of steps."""

    steps: int
    name: str = "kill -9 of a worker"
    measures: str = (
        "The digits example with two workers, of which one is killed: from the kill to the end of the second step that ends after it, since the first may have been all but done. "
        "In Pangea the other worker continues, and the killed one is restarted meanwhile. torchrun restarts both, and they load the checkpoint that the script writes after each step."
    )
    unit: str = "s"
    more_is_better: bool = False
    contenders: Sequence[str] = (_OURS, _TORCHRUN)
    pairs: Sequence[Pair] = (Pair(_OURS, _TORCHRUN),)
    # Of the loss, which comes out of other random numbers.
    tolerance: float = 0.2

    def run(self, contender: str, folder: Path) -> Sample:
        """The work is the two steps that are waited for; the outcome is the mean loss of the steps up to the kill."""
        if contender == _OURS:
            child, steps = digits_jobs.pangea(folder, 2, _EPOCHS), JsonLinesFile(folder / "run" / "metrics.jsonl")
        else:
            child, steps = digits_jobs.torch(folder, 2, _EPOCHS, checkpoint=True), JsonLinesFile(folder / "steps.jsonl")
        try:
            _until(
                child,
                steps,
                lambda: len(steps.lines) >= self.steps and (contender != _OURS or steps.lines[-1]["workers"] == 2),
            )
            victim = _worker(folder) if contender == _OURS else int((folder / "1.pid").read_text())
            steps.read_new()
            before, killed = len(steps.lines), time.perf_counter()
            os.kill(victim, signal.SIGKILL)
            _until(child, steps, lambda: len(steps.lines) >= before + 2)
            seconds = time.perf_counter() - killed
            if contender == _OURS:
                _until(child, steps, lambda: steps.lines[-1]["workers"] == 2)
            both = time.perf_counter() - killed
        finally:
            child.stop()
        return Sample(
            seconds,
            2 * digits_jobs.BATCH_SIZE,
            statistics.fmean(line["loss"] for line in steps.lines[: self.steps]),
            {"s until both compute again": both},
        )


def _until(child: Child, steps: JsonLinesFile, condition: Callable[[], bool]) -> None:
    """Reads new steps until the condition holds.

    Raises:
        ChildFailed: the run ended, or nothing came for long.
    """
    deadline = time.monotonic() + processes.PATIENCE_SECONDS
    while not condition():
        if child.exit_code() is not None or time.monotonic() > deadline:
            raise child.failure()
        time.sleep(_TICK_SECONDS)
        steps.read_new()


def _worker(folder: Path) -> int:
    """The process ID of the run's second worker."""
    named = b"PANGEA_WORKER_NAME=worker-2\0", f"PANGEA_RUN_DIR={folder / 'run'}\0".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at, or be another user's.
        with suppress(OSError):
            variables = (entry / "environ").read_bytes()
            if all(variable in variables for variable in named):
                return int(entry.name)
    raise RuntimeError(f"no process is the second worker of the run in {folder / 'run'}")


def benchmarks(quick: bool) -> list[Benchmark]:
    """After half an epoch."""
    return [RecoverBenchmark(steps=4 if quick else 12)]
