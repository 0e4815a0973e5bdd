"""Runs a training script with several workers on this machine, to the end of the run or until it is asked to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pangea.errors import PangeaError
from pangea.launch import resume
from pangea.launch.events import RunEvents
from pangea.launch.incidents import read_incidents
from pangea.launch.outcome import Listeners, Outcome
from pangea.launch.session import Session
from pangea.launch.settings import Launch, Settings, script_hash, write_launch
from pangea.places import caller_folder
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import new_run_dir
from pangea.services.child import ChildFailed
from pangea.services.restarts import RestartPolicy
from pangea.services.stopping import StopRequest

_TICK_SECONDS = 0.05


class ScriptEndedEarly(PangeaError, RuntimeError):
    """All workers ended without an error before the run did; the message says where, and what to do."""


class RunSession(Protocol):
    """A run that goes on, wherever its processes are; `pangea.launch.session.Session` says what each part does."""

    @property
    def over(self) -> bool: ...
    @property
    def failed_workers(self) -> list[str]: ...
    @property
    def restarts(self) -> dict[str, int]: ...
    def start(self) -> None: ...
    def poll(self) -> list[dict[str, Any]]: ...
    @property
    def left(self) -> list[str]: ...
    def record(self) -> dict[str, Any]: ...
    def checkpoint(self) -> bool: ...
    def stop(self) -> None: ...


# Settings, run directory, name of the run, policy of restarts, who is told of what happens.
MakeSession = Callable[[Settings, Path, str, RestartPolicy, Callable[[str], None]], RunSession]


def train(settings: Settings, listeners: Listeners, request: StopRequest, make_session: MakeSession = Session) -> Outcome:
    """Starts a run and waits for its end.

    Args:
        settings: of the run.
        listeners: who is told of it.
        request: what it is asked for.
        make_session: where its processes are to be; default: on this machine.

    Raises:
        ChildFailed: a service or all workers ended with an error, or a process is in a crash loop.
        ScriptEndedEarly: the script ended before the run.
        FileExistsError: the run directory holds a run.
        DiskError: its files cannot be written.
    """
    run_dir = new_run_dir(settings.run_dir, settings.seed)
    launch = Launch(settings, run_dir.name, script_hash(settings.script))
    write_launch(run_dir, launch)
    return _follow(launch, run_dir, listeners, request, lambda: None, make_session)


def resume_run(directory: str, asked: dict[str, Any], listeners: Listeners, request: StopRequest) -> Outcome:
    """Goes on with a run.

    Args:
        directory: of the run, relative to the caller's folder.
        asked: options that the user gave, by field of `Settings`.
    Raises:
        CannotResume, UnusableLaunchFile: saying what to do.
        ChildFailed, ScriptEndedEarly, DiskError: as `train`.
    """
    run_dir = caller_folder() / directory
    saved = resume.open_run(run_dir)
    launch = resume.merged(saved, asked)
    if resume.nothing_left(run_dir, saved.settings, launch.settings):
        listeners.on_event("the run is finished already; nothing is left to do (more --epochs would be)")
        return _outcome(run_dir, 0.0, [], {})
    resume.find_data(launch)
    if (warning := resume.warning(launch)) is not None:
        listeners.on_event(f"warning: {warning}")
    resume.await_predecessor(run_dir, listeners.on_event)
    # What is asked for now is kept only when it has proven to be of this run.
    return _follow(launch, run_dir, listeners, request, lambda: write_launch(run_dir, launch))


def _follow(launch: Launch, run_dir: Path, listeners: Listeners, request: StopRequest, keep: Callable[[], None], make_session: MakeSession = Session) -> Outcome:
    """Runs a session until it is over or is to stop. `keep` is called when the run has got a step further, or has finished."""
    started = time.perf_counter()
    session = make_session(launch.settings, run_dir, launch.run_id, RestartPolicy(), listeners.on_event)
    watch = _Watch(session, run_dir, listeners, keep)
    try:
        session.start()
        while not session.over and request.stop_signal is None:
            watch.poll()
            if request.pop_checkpoint():
                listeners.on_event("SIGUSR1: a checkpoint is taken now" if session.checkpoint() else "SIGUSR1: processes on other machines cannot be asked for a checkpoint")
            time.sleep(_TICK_SECONDS)
        left = session.left
        if request.stop_signal is not None:
            listeners.on_event(f"{request.stop_signal.name}: the run stops, with a last checkpoint if there is a worker to give it")
    except ChildFailed as error:
        if (reason := str(session.record().get("stopped") or "")) and session.record().get("state") != "finished":
            raise ChildFailed(f"the run was ended: {reason}\nSee pangea audit {run_dir}") from error
        raise
    finally:
        session.stop()
        watch.tell(now=True)
    outcome = _outcome(run_dir, time.perf_counter() - started, session.failed_workers, session.restarts)
    if outcome.finished:
        keep()
    elif request.stop_signal is None and left and not outcome.stopped:
        raise ScriptEndedEarly(_left(launch, outcome, left[0], watch.steps))
    return outcome


class _Watch:
    """Looks at a session and tells what is new.

    Attributes:
        steps: that the run has got further since the start.
    """

    def __init__(self, session: RunSession, run_dir: Path, listeners: Listeners, keep: Callable[[], None]) -> None:
        self._session, self._listeners, self._keep = session, listeners, keep
        self._news = RunEvents(run_dir)
        self._total = 0
        self._earlier = len(JsonLinesFile(run_dir / "metrics.jsonl").read_new())
        self.steps = 0

    def poll(self) -> None:
        """Once in a while; also keeps the processes alive."""
        for line in self._session.poll():
            self._total = self._total or int(self._session.record().get("total_steps") or 0)
            self._listeners.on_progress(line, self._total)
            if line["step"] >= self._earlier:
                self.steps += 1
                if self.steps == 1:
                    self._keep()
        self.tell()

    def tell(self, now: bool = False) -> None:
        """The news alone."""
        for sentence in self._news.poll(now):
            self._listeners.on_event(sentence)


def _left(launch: Launch, outcome: Outcome, worker: str, steps: int) -> str:
    """What to say when a script has ended before the run; `steps` are those of this start."""
    script, run = launch.settings.script, outcome.run
    if not run.get("parameters"):
        return f"{worker}: {script} ended without pangea.join (and run.batches()); a script has to call them to train. Its log: {outcome.run_dir / 'logs' / f'{worker}.log'}"
    if not steps:
        return f"{worker}: {script} joined the run and ended without a step; it has to loop over run.batches() and call run.step for each batch"
    return (
        f"{worker}: {script} left the run after {len(outcome.metrics)} of {run.get('total_steps')} steps, by break or return in its loop over run.batches(), or because its process was "
        f"asked to end. run.stop(REASON) ends a run early for all workers, and run.finish() writes its weights. Go on with: pangea train --resume {outcome.run_dir}"
    )


def _outcome(run_dir: Path, seconds: float, failed_workers: list[str], restarts: dict[str, int]) -> Outcome:
    metrics = JsonLinesFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    return Outcome(run_dir, _read(run_dir / "run.json"), _read(run_dir / "result.json"), metrics.lines, seconds, failed_workers, restarts, read_incidents(run_dir))


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}
