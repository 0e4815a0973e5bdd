"""Disturbs a run, and computes what the same run comes to undisturbed."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pangea.chaos.injector import Injector
from pangea.chaos.recovery import Recoveries
from pangea.chaos.schedule import Fault, FaultKind
from pangea.launch.session import Session
from pangea.launch.settings import Launch, Settings, script_hash, write_launch
from pangea.services.restarts import UNLIMITED_RESTARTS, RestartPolicy
from pangea.services.stopping import StopRequest

# How exactly recovery times are measured.
_TICK_SECONDS = 0.01
# Longest that the run may take to recover from the last fault.
_PATIENCE_SECONDS = 180.0


@dataclass
class ChaosResult:
    """What became of a disturbed run.

    Attributes:
        hits: names of killed workers, with the time of day in seconds.
        hashes: params_hash after each step.
        gap: whether metrics.jsonl lacks a step, or has one twice.
        seconds: from the first step to the last fault's recovery.
    """

    recoveries: Recoveries = field(default_factory=Recoveries)
    hits: list[tuple[str, float]] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    gap: bool = False
    seconds: float = 0.0
    restarts: dict[str, int] = field(default_factory=dict)
    failed_workers: list[str] = field(default_factory=list)


def _session(settings: Settings, run_dir: Path, policy: RestartPolicy, on_event: Callable[[str], None]) -> Session:
    write_launch(run_dir, Launch(settings, run_dir.name, script_hash(settings.script)))
    return Session(settings, run_dir, run_dir.name, policy, on_event)


def train_under_faults(settings: Settings, run_dir: Path, faults: Sequence[Fault], duration: float, on_event: Callable[[str], None], request: StopRequest) -> ChaosResult:
    """Runs a training under faults.

    Args:
        settings: of the run, with epochs for longer than it will take.
        run_dir: for its files; made, and empty.
        faults: ascending by time, from the first step on.
        duration: seconds; then the run is left in peace until it has recovered, and is stopped.
        on_event: called with a sentence for what happens.
        request: to stop earlier.
    Raises:
        ChildFailed: a service or all workers ended by themselves, with an error.
    """
    disturbed = ChaosResult()
    session = _session(settings, run_dir, UNLIMITED_RESTARTS, on_event)
    try:
        session.start()
        while not session.poll() and not session.over and request.stop_signal is None:
            time.sleep(_TICK_SECONDS)
        _hit(session, list(faults), duration, disturbed, on_event, request)
    finally:
        session.stop()
    lines = session.metrics.lines
    disturbed.hashes = [line["params_hash"] for line in lines]
    disturbed.gap = [line["step"] for line in lines] != list(range(len(lines)))
    disturbed.restarts, disturbed.failed_workers = session.restarts, session.failed_workers
    return disturbed


def _hit(session: Session, faults: list[Fault], duration: float, disturbed: ChaosResult, on_event: Callable[[str], None], request: StopRequest) -> None:
    injector, recoveries, began = Injector(session), disturbed.recoveries, time.monotonic()
    while not session.over and request.stop_signal is None:
        now = time.monotonic() - began
        disturbed.seconds = now
        if session.poll():
            recoveries.add_progress(now, len(session.metrics.lines))
        injector.resume_paused(now)
        if faults and faults[0].at <= now:
            done = injector.inject(faults.pop(0), now)
            if done is not None:
                kind, names = done
                on_event(f"{now:.2f} s: {kind.value}: {', '.join(names)}")
                recoveries.add_fault(kind, time.monotonic() - began, len(session.metrics.lines))
                if kind in (FaultKind.KILL_WORKER, FaultKind.KILL_ALL_WORKERS):
                    disturbed.hits += [(name, time.time()) for name in names]
        if now >= duration and not faults and injector.idle and not recoveries.pending:
            return
        if now >= duration + _PATIENCE_SECONDS:
            on_event(f"the run has not taken a step for long; it is given up after {_PATIENCE_SECONDS:.0f} s")
            return
        time.sleep(_TICK_SECONDS)


def reference_hashes(settings: Settings, run_dir: Path, steps: int, on_event: Callable[[str], None], request: StopRequest) -> list[str]:
    """params_hash after each of the first steps of the same run with one worker and nothing that happens to it; its files go to `run_dir`, made and empty."""
    alone = dataclasses.replace(settings, workers=1, data_replicas=1, checkpoint_steps=0, checkpoint_seconds=0.0, verify_fraction=0.0)
    session = _session(alone, run_dir, RestartPolicy(), on_event)
    try:
        session.start()
        while len(session.metrics.lines) < steps and not session.over and request.stop_signal is None:
            session.poll()
            time.sleep(_TICK_SECONDS)
    finally:
        session.stop()
    return [line["params_hash"] for line in session.metrics.lines[:steps]]


def seconds_to_notice(log: Path, hits: list[tuple[str, float]]) -> list[float]:
    """From each kill of a worker until the orchestrator had its shards free for others, as far as its log tells.

    Args:
        log: of the orchestrator, an object a line.
        hits: names of killed workers with the time of day in seconds, ascending.
    """
    gone: dict[str, list[float]] = {}
    joined: dict[str, list[float]] = {}
    for line in log.read_text(errors="replace").splitlines():
        for message, times in (("worker is gone", gone), ("worker joined", joined)):
            if f'"{message}"' in line:
                entry: dict[str, Any] = json.loads(line)
                times.setdefault(entry["worker"], []).append(datetime.fromisoformat(entry["time"]).timestamp())
    found = []
    for number, (name, at) in enumerate(hits):
        # What comes after its next life has begun, or after the next kill, is not of this one.
        later = [*(time for other, time in hits[number + 1 :] if other == name), *(time for time in joined.get(name, []) if time > at)]
        # None if it was killed before it had joined, or while the orchestrator was not there.
        found += [time - at for time in gone.get(name, []) if at <= time < min(later, default=float("inf"))][:1]
    return found


def first_difference(one: list[str], other: list[str]) -> int | None:
    """The first step after which two runs differ; None if they do not, as far as both go."""
    return next((step for step, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
