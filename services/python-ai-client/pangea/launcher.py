"""Runs a training script with several workers on this machine, to the end of the run or until it is asked to stop."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pangea import resume
from pangea.metrics import MetricsFile
from pangea.places import caller_folder, new_run_dir
from pangea.restarts import RestartPolicy
from pangea.session import Session
from pangea.settings import Launch, Settings, script_hash, write_launch
from pangea.stopping import StopWish

_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Outcome:
    """A run that has ended or was stopped: the files of its directory, read.

    Attributes:
        run, result: run.json and result.json; empty if they are not there.
        metrics: the lines of metrics.jsonl.
        seconds: of this start, services and workers included; 0 if there was nothing left to do.
        failed_workers: names of those that ended with an error.
        restarts: how often a process was started again, by its name.
    """

    run_dir: Path
    run: dict[str, Any]
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    seconds: float
    failed_workers: list[str]
    restarts: dict[str, int]

    @property
    def finished(self) -> bool:
        """Whether all steps of the run are done."""
        return self.run.get("state") == "finished"


@dataclass(frozen=True)
class Listeners:
    """Who is told of the run: each new line of metrics.jsonl with the number of all steps, and sentences about what happens."""

    on_progress: Callable[[dict[str, Any], int], None]
    on_event: Callable[[str], None]


class RunSession(Protocol):
    """A run that goes on, wherever its processes are; `pangea.session.Session` says what each part does."""

    @property
    def over(self) -> bool: ...
    @property
    def failed_workers(self) -> list[str]: ...
    @property
    def restarts(self) -> dict[str, int]: ...
    def start(self) -> None: ...
    def look(self) -> list[dict[str, Any]]: ...
    def record(self) -> dict[str, Any]: ...
    def stop(self) -> None: ...


# Settings, run directory, name of the run, policy of restarts, who is told of what happens.
MakeSession = Callable[[Settings, Path, str, RestartPolicy, Callable[[str], None]], RunSession]


def train(settings: Settings, listeners: Listeners, wish: StopWish, make_session: MakeSession = Session) -> Outcome:
    """Starts a run and waits for its end.

    Args:
        settings: of the run.
        listeners: who is told of it.
        wish: whether it is to stop.
        make_session: where its processes are to be; default: on this machine.

    Raises:
        ChildFailed: a service or all workers ended with an error, or a process is killed again and again.
        FileExistsError: the run directory holds a run.
    """
    run_dir = new_run_dir(settings.run_dir, settings.seed)
    launch = Launch(settings, run_dir.name, script_hash(settings.script))
    write_launch(run_dir, launch)
    return _follow(launch, run_dir, listeners, wish, lambda: None, make_session)


def resume_run(directory: str, asked: dict[str, Any], listeners: Listeners, wish: StopWish) -> Outcome:
    """Goes on with a run.

    Args:
        directory: of the run, relative to the caller's folder.
        asked: options that the user gave, by field of `Settings`.
    Raises:
        CannotResume, UnusableLaunchFile: saying what to do.
        ChildFailed: as `train`.
    """
    run_dir = caller_folder() / directory
    launch = resume.open_run(run_dir)
    launch = dataclasses.replace(launch, settings=resume.merged(launch.settings, asked))
    if resume.finished(run_dir):
        listeners.on_event("the run is finished already; nothing is left to do")
        return _outcome(run_dir, 0.0, [], {})
    if (warning := resume.warning(launch)) is not None:
        listeners.on_event(f"warning: {warning}")
    resume.await_predecessor(run_dir, listeners.on_event)
    return _follow(launch, run_dir, listeners, wish, lambda: write_launch(run_dir, launch))


def _follow(launch: Launch, run_dir: Path, listeners: Listeners, wish: StopWish, on_started: Callable[[], None], make_session: MakeSession = Session) -> Outcome:
    """Runs a session until it is over or is to stop."""
    started = time.perf_counter()
    session = make_session(launch.settings, run_dir, launch.run_id, RestartPolicy(), listeners.on_event)
    total = 0
    try:
        session.start()
        on_started()
        while not session.over and wish.asked is None:
            for line in session.look():
                total = total or int(session.record().get("total_steps") or 0)
                listeners.on_progress(line, total)
            time.sleep(_TICK_SECONDS)
        if wish.asked is not None:
            listeners.on_event(f"{wish.asked.name}: the run stops, with a last checkpoint if there is a worker to give it")
    finally:
        session.stop()
    return _outcome(run_dir, time.perf_counter() - started, session.failed_workers, session.restarts)


def _outcome(run_dir: Path, seconds: float, failed_workers: list[str], restarts: dict[str, int]) -> Outcome:
    metrics = MetricsFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    return Outcome(run_dir, _read(run_dir / "run.json"), _read(run_dir / "result.json"), metrics.lines, seconds, failed_workers, restarts)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}
