"""The stack under test. Somebody else has started it, so the environment says where it is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stack:
    """A deployed run.

    Attributes:
        run_dir: its files, on this machine.
        orchestrator, data: host:port of the HTTP pages.
        arithmetic: the level that its workers are pinned to; "" for the best one of this machine.
        kills: for each process that the tests may kill, a command that does it.
    """

    run_dir: Path
    orchestrator: str
    data: str
    arithmetic: str
    kills: tuple[str, ...]

    @classmethod
    def from_environment(cls) -> Stack:
        """Reads PANGEA_STACK_RUN_DIR, _ORCHESTRATOR, _DATA, _ARITHMETIC, and _KILLS with one command a line.

        Raises:
            KeyError: one of the first three is not set.
        """
        return cls(
            Path(os.environ["PANGEA_STACK_RUN_DIR"]),
            os.environ["PANGEA_STACK_ORCHESTRATOR"],
            os.environ["PANGEA_STACK_DATA"],
            os.environ.get("PANGEA_STACK_ARITHMETIC", ""),
            tuple(line for line in os.environ.get("PANGEA_STACK_KILLS", "").splitlines() if line),
        )

    def record(self) -> dict[str, Any]:
        """run.json; empty before it exists."""
        file = self.run_dir / "run.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    @property
    def steps(self) -> int:
        """The number of steps in metrics.jsonl."""
        file = self.run_dir / "metrics.jsonl"
        return file.read_text().count("\n") if file.exists() else 0


def kill(command: str) -> None:
    """Runs a command that kills a process of the stack."""
    result = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"`{command}` ended with {result.returncode}: {result.stderr}"
