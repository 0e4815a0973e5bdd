"""Decides whether a run directory can go on, and with which settings."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea import datasets
from pangea.errors import PangeaError
from pangea.launch.settings import FIXED, LAUNCH_FILE, Launch, Settings, read_launch, script_hash
from pangea.services.child import wait_for

_LEDGER = "ledger.jsonl"
# An orchestrator whose launcher was killed still writes a last checkpoint.
_PREDECESSOR_SECONDS = 15.0
_TAKE = "--take-changes takes it from here on"


class CannotResume(PangeaError, ValueError):
    """The run cannot go on in this way; the message says what to do."""


def open_run(run_dir: Path) -> Launch:
    """Reads the launch file of a run that is to go on.

    Raises:
        CannotResume: there is no run in the directory.
        UnusableLaunchFile: saying what is wrong with launch.json.
    """
    try:
        return read_launch(run_dir)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CannotResume(f"{run_dir} holds no run of `pangea train` ({LAUNCH_FILE} is missing); check the path, or start a run with --run-dir {run_dir}") from error
    except OSError as error:
        raise CannotResume(f"cannot read {run_dir / LAUNCH_FILE}: {error.strerror or error}; check the path and its permissions") from error


def merged(launch: Launch, asked: dict[str, Any]) -> Launch:
    """The launch to go on with.

    A data set is taken by its content: the orchestrator compares its hash with the ledger's. So it may be somewhere else, and so may the script.

    Args:
        launch: of launch.json.
        asked: the options that the user gave, by field of `Settings`.
    Raises:
        CannotResume: naming the options that contradict what the run is made of.
    """
    saved, settings = launch.settings, dataclasses.replace(launch.settings, **asked)
    contradictions = [name for name in FIXED if getattr(settings, name) != getattr(saved, name)]
    if contradictions:
        words = ", ".join(f"{_option(name)} {getattr(settings, name)} (the run has {getattr(saved, name)})" for name in contradictions)
        raise CannotResume(f"a run goes on with what it was started with; leave out {words}, or start another run with another --run-dir")
    if settings.epochs < saved.epochs:
        raise CannotResume(f"--epochs {settings.epochs} is fewer than the {saved.epochs} that the run has; leave it out, or ask for more")
    if settings.arguments != saved.arguments and not settings.take_changes:
        raise CannotResume(f"the script's arguments are {_words(settings.arguments)} and were {_words(saved.arguments)}; leave them out, or {_TAKE}")
    return dataclasses.replace(launch, settings=settings, script_sha256=_script(launch, settings))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _words(arguments: tuple[str, ...]) -> str:
    return repr(" ".join(arguments)) if arguments else "none"


def _script(launch: Launch, settings: Settings) -> str:
    """The hash of the script that the run goes on with.

    Raises:
        CannotResume: it is gone, or it is another file with another content.
    """
    script, saved = settings.script, launch.settings.script
    if not script.is_file():
        raise CannotResume(f"the run's script {script} is gone; put it back, or name the file that has it now: pangea train SCRIPT --resume ...")
    found = script_hash(script)
    if settings.take_changes:
        return found
    if script != saved and found != launch.script_sha256:
        raise CannotResume(f"SCRIPT {script} has another content than {saved} had when the run was started; leave it out, or {_TAKE}")
    return launch.script_sha256


def find_data(launch: Launch) -> None:
    """Looks whether the data is there.

    Raises:
        CannotResume: it is not.
    """
    try:
        datasets.parse(launch.settings.dataset)
    except datasets.UnknownDataset as error:
        raise CannotResume(f"the run's data cannot be used: {error}. If it was moved or renamed, say where it is now with --dataset; its content has to be the same") from error


def warning(launch: Launch) -> str | None:
    """A sentence if the script's content is not the one that the run was started with."""
    script = launch.settings.script
    if script_hash(script) != launch.script_sha256:
        return f"{script} has changed since the run was started; if the change is part of the arithmetic, the run will not end as it would have. {_TAKE}"
    return None


def nothing_left(run_dir: Path, saved: Settings, asked: Settings) -> bool:
    """Whether all steps are done, the results are written, and the user asks for no further ones."""
    record = run_dir / "run.json"
    if not record.exists() or not (run_dir / "result.json").exists():
        return False
    run = json.loads(record.read_text())
    further = asked.epochs > saved.epochs or (bool(run.get("stopped")) and asked.take_changes)
    return run.get("state") == "finished" and not further


def await_predecessor(run_dir: Path, on_event: Callable[[str], None]) -> None:
    """Waits until no orchestrator holds the run.

    Raises:
        CannotResume: one still does after a while.
    """
    if _free(run_dir / _LEDGER):
        return
    on_event("an earlier orchestrator still holds the run; waiting for its end")
    if wait_for(lambda: _free(run_dir / _LEDGER) or None, _PREDECESSOR_SECONDS) is None:
        raise CannotResume(f"the run in {run_dir} is going on already; see `pangea status {run_dir}`, and stop it before you resume it")


def _free(ledger: Path) -> bool:
    """Whether nobody has the ledger locked, as go-orchestrator does for as long as it lives."""
    try:
        with ledger.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
