"""Starts or resumes a run and follows it until it ends or is asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pangea.errors import PangeaError
from pangea.launch import resume
from pangea.launch.events import RunEvents
from pangea.launch.incidents import read_incidents
from pangea.launch.outcome import Listeners, Outcome
from pangea.launch.session import Session, check_machine
from pangea.launch.settings import LAUNCH_FILE, Launch, Settings, script_hash, write_launch
from pangea.places import caller_folder
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import new_run_dir, read_record, read_result
from pangea.services.child import ChildFailed
from pangea.services.restarts import RestartPolicy
from pangea.services.stopping import StopRequest

_POLL_SECONDS = 0.05


class ScriptEndedEarly(PangeaError, RuntimeError):
    """All workers exited without an error before the run was finished; the message says where, and what to do."""


class RunSession(Protocol):
    """A running run, wherever its processes are; see `pangea.launch.session.Session` for each member."""

    @property
    def over(self) -> bool: ...
    @property
    def failed_workers(self) -> list[str]: ...
    @property
    def restarts(self) -> dict[str, int]: ...
    def start(self) -> None: ...
    def poll(self) -> list[dict[str, Any]]: ...
    def wait(self, seconds: float) -> None: ...
    @property
    def left_early(self) -> list[str]: ...
    def record(self) -> dict[str, Any]: ...
    def checkpoint(self) -> bool: ...
    def stop(self) -> None: ...


# Arguments: settings, run directory, name of the run, restart policy, callback for events.
MakeSession = Callable[[Settings, Path, str, RestartPolicy, Callable[[str], None]], RunSession]


def train(
    settings: Settings, listeners: Listeners, request: StopRequest, make_session: MakeSession = Session
) -> Outcome:
    """Starts a run and waits until it ends.

    Args:
        settings: of the run.
        listeners: called while it runs.
        request: signals that the process receives meanwhile.
        make_session: creates the session, and thereby decides where the processes are; default: on this machine.
    Raises:
        MissingTorch: torch is not installed in this environment.
        ChildFailed: a service or all workers failed, or a process is in a crash loop.
        ScriptEndedEarly: the script ended before the run was finished.
        FileExistsError: the run directory already holds a run.
        DiskError: its files cannot be written.
    """
    if make_session is Session:
        # Before there is a run directory, which would then be that of a run.
        check_machine(settings)
    run_dir = new_run_dir(settings.run_dir, settings.seed)
    launch = Launch(settings, run_dir.name, script_hash(settings.script))
    write_launch(run_dir, launch)
    return _follow(launch, run_dir, listeners, request, lambda: None, make_session)


def resume_run(
    directory: str,
    given: dict[str, Any],
    listeners: Listeners,
    request: StopRequest,
    is_trusted: Callable[[str], bool],
) -> Outcome:
    """Resumes a run and waits until it ends.

    Args:
        directory: the run directory, relative to the caller's folder.
        given: the options that the user gave, by field of `Settings`.
        listeners: called while it runs.
        request: signals that the process receives meanwhile.
        is_trusted: called with a reason to look at the script before it runs; returns whether it may run.
    Raises:
        CannotResume, UnusableLaunchFile: the run cannot be resumed like this; the message says what to do.
        ChildFailed, ScriptEndedEarly, DiskError: as for `train`.
    """
    run_dir = caller_folder() / directory
    saved = resume.open_run(run_dir)
    launch = resume.merge(saved, given)
    if resume.is_complete(run_dir, saved.settings, launch.settings):
        listeners.on_event("the run is already finished; there is nothing left to do (more --epochs would continue it)")
        return _outcome(run_dir, 0.0, [], {})
    reason = resume.distrust(run_dir, saved, launch, script_given="script" in given)
    if reason is not None and not is_trusted(reason):
        raise resume.CannotResume(
            f"{reason}. A run directory from elsewhere is code: read the script, and see its arguments in"
            f" {run_dir / LAUNCH_FILE}; then resume it with --trust, or name the script: pangea train SCRIPT --resume"
            f" {run_dir}"
        )
    resume.check_dataset(launch)
    if (warning := resume.script_warning(launch)) is not None:
        listeners.on_event(f"warning: {warning}")
    resume.await_predecessor(run_dir, listeners.on_event)
    # The given options are stored only once the orchestrator has accepted them for this run.
    return _follow(launch, run_dir, listeners, request, lambda: write_launch(run_dir, launch))


def _follow(
    launch: Launch,
    run_dir: Path,
    listeners: Listeners,
    request: StopRequest,
    store_launch: Callable[[], None],
    make_session: MakeSession = Session,
) -> Outcome:
    """Runs a session until it is over or is asked to stop.

    `store_launch` is called after the first new step, or when the run has finished.
    """
    started = time.perf_counter()
    session = make_session(launch.settings, run_dir, launch.run_id, RestartPolicy(), listeners.on_event)
    monitor = _Monitor(session, run_dir, listeners, store_launch)
    try:
        session.start()
        while not session.over and request.stop_signal is None:
            monitor.poll()
            if request.pop_checkpoint():
                listeners.on_event(
                    "SIGUSR1: a checkpoint is taken now"
                    if session.checkpoint()
                    else "SIGUSR1: a checkpoint cannot be requested from processes on other machines"
                )
            session.wait(_POLL_SECONDS)
        left_early = session.left_early
        if request.stop_signal is not None:
            listeners.on_event(
                f"{request.stop_signal.name}: the run stops, with a last checkpoint if there is a worker to take it"
                " from"
            )
    except ChildFailed as error:
        if (reason := str(session.record().get("stopped") or "")) and session.record().get("state") != "finished":
            raise ChildFailed(f"the run was ended: {reason}\nSee pangea audit {run_dir}") from error
        raise
    finally:
        session.stop()
        monitor.report_events(now=True)
    outcome = _outcome(run_dir, time.perf_counter() - started, session.failed_workers, session.restarts)
    if outcome.finished:
        store_launch()
    elif request.stop_signal is None and left_early and not outcome.stopped:
        raise ScriptEndedEarly(_why_script_ended(launch, outcome, left_early[0], monitor.steps))
    return outcome


class _Monitor:
    """Polls a session and reports its progress and events.

    Attributes:
        steps: new steps since this start.
    """

    def __init__(
        self, session: RunSession, run_dir: Path, listeners: Listeners, store_launch: Callable[[], None]
    ) -> None:
        self._session, self._listeners, self._store_launch = session, listeners, store_launch
        self._events = RunEvents(run_dir)
        self._total = 0
        self._earlier_steps = len(JsonLinesFile(run_dir / "metrics.jsonl").read_new())
        self.steps = 0

    def poll(self) -> None:
        """Keeps the processes alive, and reports new steps and events."""
        for line in self._session.poll():
            self._total = self._total or int(self._session.record().get("total_steps") or 0)
            self._listeners.on_progress(line, self._total)
            if line["step"] >= self._earlier_steps:
                self.steps += 1
                if self.steps == 1:
                    self._store_launch()
        self.report_events()

    def report_events(self, now: bool = False) -> None:
        """Reports new events only; `now` as for `RunEvents.poll`."""
        for event in self._events.poll(now):
            self._listeners.on_event(event)


def _why_script_ended(launch: Launch, outcome: Outcome, worker: str, steps: int) -> str:
    """The message for a script that ended before the run was finished; `steps` counts those of this start."""
    script, run = launch.settings.script, outcome.run
    if not run.get("parameters"):
        return (
            f"{worker}: {script} ended without pangea.join (and run.batches()), which a training script has to call."
            f" Its log: {outcome.run_dir / 'logs' / f'{worker}.log'}"
        )
    if not steps:
        return (
            f"{worker}: {script} joined the run and ended without a step; it has to loop over run.batches() and call"
            " run.step for each batch"
        )
    return (
        f"{worker}: {script} left the run after {len(outcome.metrics)} of {run.get('total_steps')} steps, by break or"
        " return in its loop over run.batches(), or because its process was asked to stop. run.stop(REASON) ends a run"
        " early for all workers, and run.finish() writes its weights. Resume it with: pangea train --resume"
        f" {outcome.run_dir}"
    )


def _outcome(run_dir: Path, seconds: float, failed_workers: list[str], restarts: dict[str, int]) -> Outcome:
    metrics = JsonLinesFile(run_dir / "metrics.jsonl")
    metrics.read_new()
    return Outcome(
        run_dir,
        read_record(run_dir),
        read_result(run_dir),
        metrics.lines,
        seconds,
        failed_workers,
        restarts,
        read_incidents(run_dir),
    )
