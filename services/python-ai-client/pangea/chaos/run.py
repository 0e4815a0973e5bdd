"""Runs a training under faults, and the same training without faults as a reference."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pangea.chaos.injector import Injector
from pangea.chaos.recovery import Recoveries
from pangea.chaos.schedule import Fault, FaultKind
from pangea.launch.session import Session
from pangea.launch.settings import Launch, Settings, script_hash, write_launch
from pangea.rundir.service_logs import WORKER_GONE, WORKER_JOINED, log_entries
from pangea.services.restarts import UNLIMITED_RESTARTS, RestartPolicy
from pangea.services.stopping import StopRequest

# The resolution of the measured recovery times.
_POLL_SECONDS = 0.01
# How long the run may take to recover from the last fault.
_RECOVERY_TIMEOUT_SECONDS = 180.0


@dataclass
class ChaosResult:
    """The result of a run under faults.

    Attributes:
        recoveries: faults and recovery times.
        worker_kills: names of killed workers, with the time of the kill in seconds since the epoch.
        hashes: params_hash after each step.
        gap: whether metrics.jsonl lacks a step, or has one twice.
        seconds: from the first step to the recovery from the last fault.
        restarts: how often each process was restarted, by its name.
        failed_workers: names of the workers that failed.
    """

    recoveries: Recoveries = field(default_factory=Recoveries)
    worker_kills: list[tuple[str, float]] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    gap: bool = False
    seconds: float = 0.0
    restarts: dict[str, int] = field(default_factory=dict)
    failed_workers: list[str] = field(default_factory=list)


def _session(settings: Settings, run_dir: Path, policy: RestartPolicy, on_event: Callable[[str], None]) -> Session:
    write_launch(run_dir, Launch(settings, run_dir.name, script_hash(settings.script)))
    return Session(settings, run_dir, run_dir.name, policy, on_event)


def train_under_faults(
    settings: Settings,
    run_dir: Path,
    faults: Sequence[Fault],
    duration: float,
    on_event: Callable[[str], None],
    request: StopRequest,
) -> ChaosResult:
    """Runs a training under faults.

    Args:
        settings: of the run, with more epochs than fit into `duration`.
        run_dir: an existing, empty run directory.
        faults: ascending by time, which counts from the first step on.
        duration: seconds; after that no more faults are injected, and the run is stopped once it has recovered.
        on_event: called with a message for each event.
        request: ends it earlier.
    Raises:
        ChildFailed: a service or all workers failed.
    """
    result = ChaosResult()
    session = _session(settings, run_dir, UNLIMITED_RESTARTS, on_event)
    try:
        session.start()
        while not session.poll() and not session.over and request.stop_signal is None:
            time.sleep(_POLL_SECONDS)
        _inject_faults(session, list(faults), duration, result, on_event, request)
    finally:
        session.stop()
    lines = session.metrics.lines
    result.hashes = [line["params_hash"] for line in lines]
    result.gap = [line["step"] for line in lines] != list(range(len(lines)))
    result.restarts, result.failed_workers = session.restarts, session.failed_workers
    return result


def _inject_faults(
    session: Session,
    faults: list[Fault],
    duration: float,
    result: ChaosResult,
    on_event: Callable[[str], None],
    request: StopRequest,
) -> None:
    injector, recoveries, began = Injector(session), result.recoveries, time.monotonic()
    while not session.over and request.stop_signal is None:
        now = time.monotonic() - began
        result.seconds = now
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
                    result.worker_kills += [(name, time.time()) for name in names]
        if now >= duration and not faults and injector.idle and not recoveries.pending:
            return
        if now >= duration + _RECOVERY_TIMEOUT_SECONDS:
            on_event(
                f"the run has not recovered from the faults within {_RECOVERY_TIMEOUT_SECONDS:.0f} s; it is stopped"
            )
            return
        time.sleep(_POLL_SECONDS)


def reference_hashes(
    settings: Settings, run_dir: Path, steps: int, on_event: Callable[[str], None], request: StopRequest
) -> list[str]:
    """Runs the first `steps` steps of the same training with one worker and without faults.

    Args:
        settings: of the run under faults.
        run_dir: an existing, empty run directory.
        steps: how many steps are computed.
        on_event: called with a message for each event.
        request: ends it earlier.
    Returns:
        params_hash after each step.
    Raises:
        ChildFailed: a service or the worker failed.
    """
    alone = dataclasses.replace(
        settings, workers=1, data_replicas=1, checkpoint_steps=0, checkpoint_seconds=0.0, verify_fraction=0.0
    )
    session = _session(alone, run_dir, RestartPolicy(), on_event)
    try:
        session.start()
        while len(session.metrics.lines) < steps and not session.over and request.stop_signal is None:
            session.poll()
            time.sleep(_POLL_SECONDS)
    finally:
        session.stop()
    return [line["params_hash"] for line in session.metrics.lines[:steps]]


def detection_seconds(log: Path, worker_kills: list[tuple[str, float]]) -> list[float]:
    """The times from the kill of a worker until the orchestrator released its leases.

    Kills without such an event in the orchestrator's log are left out.

    Args:
        log: of the orchestrator, one JSON object per line.
        worker_kills: names of killed workers with the time of the kill in seconds since the epoch, ascending.
    """
    exited: dict[str, list[float]] = {}
    joined: dict[str, list[float]] = {}
    for _, entry in log_entries(log):
        times = {WORKER_GONE: exited, WORKER_JOINED: joined}.get(entry.get("event", ""))
        if times is not None:
            times.setdefault(entry["worker"], []).append(datetime.fromisoformat(entry["time"]).timestamp())
    found = []
    for number, (name, at) in enumerate(worker_kills):
        # Events after the worker's next join or next kill do not belong to this kill.
        later = [
            *(time for other, time in worker_kills[number + 1 :] if other == name),
            *(time for time in joined.get(name, []) if time > at),
        ]
        # There is no event if the worker had not joined yet, or if the orchestrator was down.
        found += [time - at for time in exited.get(name, []) if at <= time < min(later, default=float("inf"))][:1]
    return found


def first_difference(one: list[str], other: list[str]) -> int | None:
    """The first step after which two runs differ; None if they agree up to the end of the shorter one."""
    return next((step for step, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
