"""What the steps need from a stack, whether it consists of containers or of processes."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Deployed:
    """A deployed stack: where its parts are.

    Attributes:
        run_dir: the files of its run, as this machine sees them.
        orchestrator, data: host:port of the HTTP pages.
        arithmetic: the level that its workers were pinned to; "" for the best of this machine.
        kills: a command for each process that the end-to-end test may kill.
    """

    run_dir: pathlib.Path
    orchestrator: str
    data: str
    arithmetic: str
    kills: list[str]


class Stack(Protocol):
    """One kind of stack."""

    # What is built before the stack is deployed, for messages.
    parts: str

    def validate(self) -> str:
        """Checks that this machine has what the stack needs; says what it found."""

    def build(self) -> str:
        """Builds what will run; returns a description."""

    def deploy(self) -> Deployed:
        """Starts the stack, and waits until it is ready."""

    def logs(self) -> str:
        """The newest lines of every process."""

    def remove(self) -> None:
        """Stops what this object has started, and deletes it; does nothing if it has started nothing."""

    def how_to_remove(self) -> str:
        """A command for a shell that stops it after this process has ended, and where its files are."""
