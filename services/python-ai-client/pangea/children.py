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

Found = TypeVar("Found")

# How often a condition is looked at while waiting for it.
_TICK_SECONDS = 0.02
# linux/prctl.h
_PR_SET_PDEATHSIG = 1


class ChildFailed(RuntimeError):
    """A child process ended or did not get ready; the message holds the end of its log."""


class Child:
    """A child process whose output goes to a log file. It does not outlive this process, however this one ends."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL) -> None:
        self.name, self.log = name, log
        with log.open("ab") as stream:
            try:
                # A group of its own: Ctrl-C reaches us alone, and we stop the children in order.
                self.process = subprocess.Popen(command, stdin=stdin, stdout=stream, stderr=stream, env=environment, start_new_session=True, preexec_fn=_ends_with_parent())
            except (OSError, subprocess.SubprocessError) as error:
                raise ChildFailed(f"cannot start {name}: {error}") from error

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has ended."""
        self.process.send_signal(number)

    def log_tail(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join("  " + line for line in self.log.read_text(errors="replace").splitlines()[-lines:])

    def failure(self) -> ChildFailed:
        """The error that tells how it ended."""
        return ChildFailed(f"{self.name} ended with exit code {self.exit_code()}. The end of {self.log}:\n{self.log_tail()}")

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


def _ends_with_parent() -> Callable[[], None] | None:
    """What makes the kernel send SIGTERM to a child when this process is gone, even after kill -9. It is called in the child.

    The kernel counts the end of the thread that started the child as well, so this is for the main thread's children.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
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
