"""Starts the programs that are timed, and reads what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pangea.children import Child, wait_for
from pangea.places import python_command, python_environment

# Gloo shall neither look up this machine's name nor choose an interface.
_ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo"}
# Whoever takes longer hangs.
PATIENCE_SECONDS = 600.0


def start(program: str, folder: Path, rank: int, job: Mapping[str, Any], **environment: str) -> Child:
    """Starts `programs/PROGRAM.py` with its job as a JSON file."""
    name = f"{program}-{rank}"
    file = folder / f"{name}.job.json"
    file.write_text(json.dumps({**job, "rank": rank, "folder": str(folder), "result": str(_result(folder, name))}))
    command = [*python_command(Path(__file__).parent / "programs" / f"{program}.py"), str(file)]
    return Child(name, command, folder / f"{name}.log", {**python_environment(), **_ENVIRONMENT, **environment})


def results(folder: Path, children: list[Child]) -> list[dict[str, Any]]:
    """Waits for the end of all, and gives what each wrote.

    Raises:
        ChildFailed: with the end of the log of the one that failed or hangs. The others are killed.
    """
    try:
        wait_for(lambda: True if any(child.exit_code() for child in children) or all(child.exit_code() == 0 for child in children) else None, PATIENCE_SECONDS)
        for child in children:
            if child.exit_code():
                raise child.failure()
        for child in children:
            if child.exit_code() is None:
                raise child.failure()
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()
    return [json.loads(_result(folder, child.name).read_text()) for child in children]


def _result(folder: Path, name: str) -> Path:
    return folder / f"{name}.result.json"
