"""Decides whether a run directory can go on, and with which settings."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea.children import wait_for
from pangea.settings import FIXED, LAUNCH_FILE, Launch, Settings, read_launch, script_hash

_LEDGER = "ledger.jsonl"
# An orchestrator whose launcher was killed still writes a last checkpoint.
_PREDECESSOR_SECONDS = 15.0


class CannotResume(ValueError):
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


def merged(saved: Settings, asked: dict[str, Any]) -> Settings:
    """The settings to go on with.

    Args:
        saved: of launch.json.
        asked: the options that the user gave, by field of `Settings`.
    Raises:
        CannotResume: naming the options that contradict what the run's arithmetic is made of.
    """
    contradictions = [name for name in FIXED if name in asked and asked[name] != getattr(saved, name)]
    if contradictions:
        words = ", ".join(f"{_option(name)} {_shown(asked[name])} (the run has {_shown(getattr(saved, name))})" for name in contradictions)
        raise CannotResume(f"a run goes on with what it was started with; leave out {words}, or start another run with another --run-dir")
    return dataclasses.replace(saved, **asked)


def _option(name: str) -> str:
    return {"script": "SCRIPT", "arguments": "the script's arguments"}.get(name, "--" + name.replace("_", "-"))


def _shown(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def warning(launch: Launch) -> str | None:
    """A sentence if the script is not the one that the run was started with.

    Raises:
        CannotResume: it is gone.
    """
    script = launch.settings.script
    if not script.is_file():
        raise CannotResume(f"the run's script {script} is gone; put it back, then resume")
    if script_hash(script) != launch.script_sha256:
        return f"{script} has changed since the run was started; if the change is part of the arithmetic, the run will not end as it would have"
    return None


def finished(run_dir: Path) -> bool:
    """Whether all steps are done and the results are written: nothing is left to do."""
    file = run_dir / "run.json"
    return file.exists() and json.loads(file.read_text())["state"] == "finished" and (run_dir / "result.json").exists()


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
