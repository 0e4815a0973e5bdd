"""Runs commands with their output in a file, so that a failure can be shown."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Sequence


class StepFailed(Exception):
    """A step failed; the message says why, `log` contains the output of the command."""

    def __init__(self, message: str, code: int = 1, log: pathlib.Path | None = None) -> None:
        super().__init__(message)
        self.code, self.log = code, log


class Commands:
    """Runs the commands of one setup in the workspace; each has its own log file."""

    def __init__(self, workspace: pathlib.Path, logs: pathlib.Path) -> None:
        self.workspace, self._logs, self._number = workspace, logs, 0

    def _log(self, name: str) -> pathlib.Path:
        self._number += 1
        self._logs.mkdir(parents=True, exist_ok=True)
        return self._logs / f"{self._number:02}-{name}.log"

    def run(self, name: str, command: Sequence[str], **environment: str) -> pathlib.Path:
        """Runs a command to its end, with these variables in addition to those of this process; returns its log.

        Raises:
            StepFailed: it exited with an error.
        """
        log = self._log(name)
        with log.open("wb") as output:
            code = subprocess.run(
                list(command),
                cwd=self.workspace,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code != 0:
            raise StepFailed(f"`{' '.join(command)}` exited with {code}", code, log)
        return log

    def start(self, name: str, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], pathlib.Path]:
        """Starts a command in the background, in its own session: Ctrl-C is for us, and it is stopped gracefully."""
        log = self._log(name)
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                cwd=self.workspace,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, log


def tail(log: pathlib.Path, lines: int) -> str:
    """The end of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
