"""Decides whether a run can be resumed, and with which settings."""

from __future__ import annotations

import dataclasses
import fcntl
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea import datasets
from pangea.errors import PangeaError
from pangea.launch.settings import FIXED, LAUNCH_FILE, Launch, Settings, read_launch, script_hash
from pangea.places import is_example
from pangea.rundir.layout import LEDGER_FILE, read_record
from pangea.services.child import wait_for

# How long to wait for an orchestrator whose launcher was killed: it still writes a last checkpoint.
_PREDECESSOR_SECONDS = 15.0
_TAKE_CHANGES_HINT = "--take-changes accepts it from here on"


class CannotResume(PangeaError, ValueError):
    """The run cannot be resumed like this; the message says what to do."""


def open_run(run_dir: Path) -> Launch:
    """Reads the launch file of a run that is to be resumed.

    Raises:
        CannotResume: there is no run in the directory.
        UnusableLaunchFile: launch.json cannot be used; the message says why.
    """
    try:
        return read_launch(run_dir)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CannotResume(
            f"{run_dir} holds no run of `pangea train` ({LAUNCH_FILE} is missing); check the path, or start a run with"
            f" --run-dir {run_dir}"
        ) from error
    except OSError as error:
        raise CannotResume(
            f"cannot read {run_dir / LAUNCH_FILE}: {error.strerror or error}; check the path and its permissions"
        ) from error


def merge(launch: Launch, given: dict[str, Any]) -> Launch:
    """The launch with which the run resumes: the saved one with the given options.

    The dataset and the script may have moved: a dataset is identified by its content, as the orchestrator compares its
    hash with the ledger's, and a script by its hash.

    Args:
        launch: from launch.json.
        given: the options that the user gave, by field of `Settings`.
    Raises:
        CannotResume: an option contradicts what is fixed for the run.
    """
    saved, settings = launch.settings, dataclasses.replace(launch.settings, **given)
    contradictions = [name for name in FIXED if getattr(settings, name) != getattr(saved, name)]
    if contradictions:
        options = ", ".join(
            f"{_option(name)} {getattr(settings, name)} (the run has {getattr(saved, name)})" for name in contradictions
        )
        raise CannotResume(
            f"these options cannot change when a run is resumed; leave out {options}, or start a new run with another"
            " --run-dir"
        )
    if settings.epochs < saved.epochs:
        raise CannotResume(
            f"--epochs {settings.epochs} is fewer than the {saved.epochs} that the run has; leave it out, or give more"
        )
    if settings.arguments != saved.arguments and not settings.take_changes:
        raise CannotResume(
            f"the script's arguments are {_joined(settings.arguments)} and were {_joined(saved.arguments)}; leave them"
            f" out, or {_TAKE_CHANGES_HINT}"
        )
    return dataclasses.replace(launch, settings=settings, script_sha256=_accepted_script_hash(launch, settings))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _joined(arguments: tuple[str, ...]) -> str:
    return repr(" ".join(arguments)) if arguments else "none"


def _accepted_script_hash(launch: Launch, settings: Settings) -> str:
    """The hash of the script with which the run resumes.

    Raises:
        CannotResume: the script does not exist, or is a different file with different content.
    """
    script, saved = settings.script, launch.settings.script
    if not script.is_file():
        raise CannotResume(
            f"the run's script {script} does not exist any more; restore it, or name its new place: pangea train SCRIPT"
            " --resume ..."
        )
    found = script_hash(script)
    if settings.take_changes:
        return found
    if script != saved and found != launch.script_sha256:
        raise CannotResume(
            f"SCRIPT {script} differs from {saved} as it was when the run was started; leave it out, or"
            f" {_TAKE_CHANGES_HINT}"
        )
    return launch.script_sha256


def check_dataset(launch: Launch) -> None:
    """Checks that the run's dataset exists.

    Raises:
        CannotResume: it does not.
    """
    try:
        datasets.parse(launch.settings.dataset)
    except datasets.UnknownDataset as error:
        raise CannotResume(
            f"the run's dataset cannot be used: {error}. If it was moved or renamed, give its new place with --dataset;"
            " its content has to be the same"
        ) from error


def script_warning(launch: Launch) -> str | None:
    """A warning if the script has changed since the run was started; else None."""
    script = launch.settings.script
    if script_hash(script) != launch.script_sha256:
        return (
            f"{script} has changed since the run was started; if the change affects the computation, the results will"
            f" differ from those of an uninterrupted run. {_TAKE_CHANGES_HINT}"
        )
    return None


def distrust(run_dir: Path, saved: Launch, launch: Launch, *, script_given: bool) -> str | None:
    """Why the user should look at the script before it runs; None if there is no reason.

    A run directory from elsewhere names the script and its arguments: resuming it runs what somebody else has chosen.

    Args:
        run_dir: the run directory.
        saved, launch: from launch.json, and with the given options.
        script_given: whether the user named the script.
    """
    if script_given:
        return None
    script = launch.settings.script.resolve()
    if script.is_relative_to(run_dir.resolve()):
        return f"{LAUNCH_FILE} names a script in the run directory itself, {script}"
    # An interpreter comes with scripts that run what is in their arguments.
    libraries = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib", "scripts")]
    if any(script.is_relative_to(folder) for folder in libraries) and not is_example(script):
        return f"{LAUNCH_FILE} names a program of this machine's Python as the script, {script}"
    if not launch.settings.take_changes and script_hash(script) != saved.script_sha256:
        return f"{script} is not the script with which the run was started; its content differs"
    return None


def is_complete(run_dir: Path, saved: Settings, wanted: Settings) -> bool:
    """Whether all steps are done, the results are written, and the wanted settings add no further steps."""
    record = run_dir / "run.json"
    if not record.exists() or not (run_dir / "result.json").exists():
        return False
    run = read_record(run_dir)
    further = wanted.epochs > saved.epochs or (bool(run.get("stopped")) and wanted.take_changes)
    return run.get("state") == "finished" and not further


def await_predecessor(run_dir: Path, on_event: Callable[[str], None]) -> None:
    """Waits until no other orchestrator has locked the run's ledger.

    Raises:
        CannotResume: one still holds the lock after a while.
    """
    if _is_unlocked(run_dir / LEDGER_FILE):
        return
    on_event("an earlier orchestrator of this run is still running; waiting until it exits")
    if wait_for(lambda: _is_unlocked(run_dir / LEDGER_FILE) or None, _PREDECESSOR_SECONDS) is None:
        raise CannotResume(
            f"the run in {run_dir} is already running; see `pangea status {run_dir}`, and stop it before you resume it"
        )


def _is_unlocked(ledger: Path) -> bool:
    """Whether the ledger is not locked; go-orchestrator holds the lock as long as it lives."""
    try:
        with ledger.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
