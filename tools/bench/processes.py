"""Starts the programs that are timed, and reads their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pangea.arithmetic import best_level, pin
from pangea.places import python_environment
from pangea.services.child import Child, wait_for

# Gloo must neither look up the name of this machine nor choose an interface.
_ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo"}
# A program that takes longer hangs.
PATIENCE_SECONDS = 600.0


def start(
    program: str, folder: Path, rank: int, job: Mapping[str, Any], through: Sequence[str] = (), **environment: str
) -> Child:
    """Starts `programs/PROGRAM.py` with its job as a JSON file.

    Args:
        through: another program and its arguments, which starts this one.
        environment: further variables.
    """
    name = f"{program}-{rank}"
    file = folder / f"{name}.job.json"
    file.write_text(json.dumps({**job, "rank": rank, "folder": str(folder), "result": str(_result(folder, name))}))
    words = [str(program_file(program)), str(file)]
    if through:
        words = [str(program_file(through[0])), *through[1:], *words]
    return command(name, folder, [sys.executable, *words], **environment)


def program_file(program: str) -> Path:
    """Of a program's name."""
    return Path(__file__).parent / "programs" / f"{program}.py"


def command(name: str, folder: Path, words: list[str], **environment: str) -> Child:
    """Starts any command; its log goes to the folder."""
    # All compute with the same kernels; and a worker of Pangea need not start again to get them.
    pinned = pin(python_environment(), best_level())
    return Child(name, words, folder / f"{name}.log", {**pinned, **_ENVIRONMENT, **environment})


def results(folder: Path, children: list[Child]) -> list[dict[str, Any]]:
    """Waits until all have exited, and returns what each wrote.

    Raises:
        ChildFailed: as `wait_ended`.
    """
    wait_ended(children)
    return [json.loads(_result(folder, child.name).read_text()) for child in children]


def wait_ended(children: list[Child]) -> None:
    """Waits until all have exited successfully.

    Raises:
        ChildFailed: with the end of the log of the one that failed or hangs. The others are stopped.
    """
    try:
        wait_for(
            lambda: (
                True
                if any(child.exit_code() for child in children) or all(child.exit_code() == 0 for child in children)
                else None
            ),
            PATIENCE_SECONDS,
        )
        for child in children:
            if child.exit_code():
                raise child.failure()
        for child in children:
            if child.exit_code() is None:
                raise child.failure()
    finally:
        for child in children:
            child.stop()


def _result(folder: Path, name: str) -> Path:
    return folder / f"{name}.result.json"
