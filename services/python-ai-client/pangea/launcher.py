"""Runs a training script with several workers on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.children import Child
from pangea.embedded import EmbeddedServices
from pangea.places import python_command, python_environment

_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Settings:
    """What `pangea train` was asked to do. `shards` is a power of two; `batch_size` is of a whole step."""

    script: Path
    workers: int
    epochs: int
    batch_size: int
    shards: int
    seed: int
    run_dir: str | None


@dataclass(frozen=True)
class Outcome:
    """A finished run: the files of its directory, read."""

    run_dir: Path
    run: dict[str, Any]
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    seconds: float
    failed_workers: list[str]


class MetricsFile:
    """Reads metrics.jsonl as it grows."""

    def __init__(self, file: Path) -> None:
        self._file, self._position = file, 0
        self.lines: list[dict[str, Any]] = []

    def read_new(self) -> list[dict[str, Any]]:
        """The whole lines that came since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as stream:
            stream.seek(self._position)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        new = [json.loads(line) for line in whole.splitlines()]
        self.lines += new
        return new


def _start_workers(settings: Settings, services: EmbeddedServices) -> list[Child]:
    workers = []
    for number in range(1, settings.workers + 1):
        name = f"worker-{number}"
        environment = {
            **python_environment(),
            "PANGEA_ORCHESTRATOR": services.orchestrator,
            "PANGEA_DATA": services.data,
            "PANGEA_RUN_DIR": str(services.run_dir),
            "PANGEA_WORKER_NAME": name,
            "PANGEA_SEED": str(settings.seed),
        }
        workers.append(Child(name, python_command(settings.script), services.run_dir / "logs" / f"{name}.log", environment))
    return workers


def train(settings: Settings, on_progress: Callable[[dict[str, Any], int], None], on_event: Callable[[str], None]) -> Outcome:
    """Starts services and workers, and waits for the end of the run.

    Args:
        settings: of the run.
        on_progress: called with each new line of metrics.jsonl and the number of all steps.
        on_event: called with a sentence when a worker ends before the run does.
    Raises:
        ChildFailed: when a service ends early, or the last worker does.
    """
    started = time.perf_counter()
    services = EmbeddedServices.start(run_dir=settings.run_dir, epochs=settings.epochs, batch_size=settings.batch_size, shards=settings.shards, seed=settings.seed)
    workers: list[Child] = []
    try:
        workers = _start_workers(settings, services)
        metrics = MetricsFile(services.run_dir / "metrics.jsonl")
        failed = _follow(services, workers, metrics, on_progress, on_event)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.stop()
        services.stop()
    run = json.loads((services.run_dir / "run.json").read_text())
    result_file = services.run_dir / "result.json"
    result = json.loads(result_file.read_text()) if result_file.exists() else {}
    return Outcome(services.run_dir, run, result, metrics.lines, time.perf_counter() - started, failed)


def _follow(
    services: EmbeddedServices, workers: list[Child], metrics: MetricsFile, on_progress: Callable[[dict[str, Any], int], None], on_event: Callable[[str], None]
) -> list[str]:
    """Waits until every worker has ended; gives the names of those that failed."""
    failed: dict[str, Child] = {}
    total = 0
    while True:
        running = [worker for worker in workers if worker.exit_code() is None]
        total = total or _total_steps(services.run_dir)
        for line in metrics.read_new():
            on_progress(line, total)
        for service in (services.orchestrator_child, services.data_child):
            if service.exit_code() is not None and running:
                raise service.failure()
        for worker in workers:
            if worker.exit_code() not in (None, 0) and worker.name not in failed:
                failed[worker.name] = worker
                if running:
                    on_event(f"{worker.name} ended with exit code {worker.exit_code()}; the others go on. Its log: {worker.log}")
        if not running:
            break
        time.sleep(_TICK_SECONDS)
    if len(failed) == len(workers):
        raise next(iter(failed.values())).failure()
    return list(failed)


def _total_steps(run_dir: Path) -> int:
    file = run_dir / "run.json"
    return int(json.loads(file.read_text()).get("total_steps") or 0) if file.exists() else 0
