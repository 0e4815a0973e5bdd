"""Starts the services as child processes, and stops them."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pangea.errors import PangeaError

Found = TypeVar("Found")

# How often a condition is looked at while waiting for it.
_TICK_SECONDS = 0.02
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
# How a program says in one line why it ends, near the end of its output.
_SENTENCES = ("pangea: ", "go-orchestrator: ", "rust-compute: ")
_SENTENCE_WITHIN = 5


class ChildFailed(PangeaError, RuntimeError):
    """A child process ended or did not get ready; the message holds the end of its log."""


class Child:
    """A child process whose output goes to a log file. It does not outlive this process, however this one ends."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL, folder: Path | None = None) -> None:
        """Args:
        name: for people.
        command: to start.
        log: gets its output at the end, behind that of earlier ones.
        environment: None for this process's.
        stdin: as `subprocess` takes it.
        folder: where it works; None for this process's.
        """
        self.name, self.log = name, log
        try:
            with log.open("ab") as stream:
                self._log_start = stream.tell()
                # A group of its own: Ctrl-C reaches us alone, and we stop the children in order.
                self.process = subprocess.Popen(command, stdin=stdin, stdout=stream, stderr=stream, env=environment, cwd=folder, start_new_session=True, preexec_fn=_prepare())
        except (OSError, subprocess.SubprocessError) as error:
            raise ChildFailed(f"cannot start {name} with its log at {log}: {error}") from error

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has ended."""
        self.process.send_signal(number)

    def output(self) -> list[str]:
        """The lines that this process has written to its log; earlier ones under its name have theirs before."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(self._log_start)
                return stream.read().decode(errors="replace").splitlines()
        except OSError as error:
            return [f"(the log cannot be read: {error})"]

    def log_tail(self, lines: int = 12) -> str:
        """The end of what it has written."""
        return "\n".join("  " + line for line in self.output()[-lines:])

    def failure(self) -> ChildFailed:
        """The error that tells how it ended: in its own sentence where it is Pangea's, else with the end of its log."""
        output = self.output()
        ended = f"{self.name} ended with exit code {self.exit_code()}"
        end = output[-_SENTENCE_WITHIN:]
        found = [number for number, line in enumerate(end) if line.startswith(_SENTENCES)]
        if found:
            sentence = "\n".join(end[found[-1] :]).partition(": ")[2]
            return ChildFailed(f"{ended}: {sentence}\nIts log: {self.log}")
        return ChildFailed(f"{ended}. The end of {self.log}:\n{self.log_tail()}" if output else f"{ended} and wrote nothing to {self.log}")

    def wait_ready(self, port_file: Path, timeout: float) -> dict[str, str]:
        """Waits until the service has written its addresses; gives them as {"listen": "host:port", "http": "host:port"}."""

        def addresses() -> dict[str, str] | None:
            if self.exit_code() is not None:
                raise self.failure()
            return json.loads(port_file.read_text()) if port_file.exists() else None

        found = wait_for(addresses, timeout)
        if found is None:
            self.stop()
            raise ChildFailed(f"{self.name} was not ready after {timeout:.0f} s. The end of {self.log}:\n{self.log_tail()}")
        return found

    def stop(self, timeout: float = 10.0) -> int:
        """Asks it to end; kills it if it does not within `timeout` seconds. Gives its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def _prepare() -> Callable[[], None] | None:
    """What a child does before it becomes its program. Only for children of the main thread.

    SIGUSR1 asks the run for a checkpoint; a cluster sends it to all processes, and whoever has no use for it must not die of it. And the kernel sends SIGTERM when this process is
    gone, even after kill -9; it would count the end of another thread, which had started the child, as well.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it was gone before
            os.kill(os.getpid(), signal.SIGTERM)

    return prepare


def wait_for(condition: Callable[[], Found | None], timeout: float) -> Found | None:
    """Looks at `condition` until it gives something; None after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(_TICK_SECONDS)
