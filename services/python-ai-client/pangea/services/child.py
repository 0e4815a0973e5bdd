"""A child process: started with a log file, waited for, and stopped."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pangea.errors import PangeaError

Found = TypeVar("Found")

# The intervals at which `wait_for` checks its condition: short at first, since services start in milliseconds.
_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.001, 0.02
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
# Prefixes of the line in which Pangea's programs report why they exit; it is among the last lines of their output.
_ERROR_PREFIXES = ("pangea: ", "go-orchestrator: ", "rust-compute: ")
_ERROR_WITHIN_LINES = 5
_TAIL_LINES = 12
# What a library writes when a process exits with an error, after the error: nanobind, which torch 2.15 brings along,
# lists what the traceback still refers to.
_NOISE = re.compile(r"nanobind: | - leaked | - \.\.\. skipped remainder$|See https?://nanobind\.")


class ChildFailed(PangeaError, RuntimeError):
    """A child process failed or did not become ready; the message includes the end of its log."""


class Child:
    """A child process whose output goes to a log file. It does not outlive this process, even if this one is killed."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environment: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        folder: Path | None = None,
    ) -> None:
        """Args:
        name: of the process, for messages.
        command: the program and its arguments.
        log: the file to which its output is appended.
        environment: of the process; None to inherit this process's.
        stdin: as for `subprocess`.
        folder: the working directory; None to inherit this process's.
        """
        self.name, self.log = name, log
        try:
            with log.open("ab") as stream:
                self._log_start = stream.tell()
                # A separate session: Ctrl-C reaches only this process, which then stops its children in order.
                self.process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=stream,
                    stderr=stream,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                    preexec_fn=_preexec(),
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise ChildFailed(f"cannot start {name} with its log at {log}: {error}") from error

    def exit_code(self) -> int | None:
        """The exit code as `subprocess` reports it; None while the process runs."""
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has exited."""
        self.process.send_signal(number)

    def output(self) -> list[str]:
        """The lines that this process has written to its log, without those of its predecessors."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(self._log_start)
                return stream.read().decode(errors="replace").splitlines()
        except OSError as error:
            return [f"(the log cannot be read: {error})"]

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines that this process has written to its log, indented."""
        return _indented(self.output()[-lines:])

    def failure(self) -> ChildFailed:
        """The error for its exit: with the reason that a program of Pangea printed, else with the end of its log."""
        output = [line for line in self.output() if not _NOISE.match(line)]
        exited = f"{self.name} exited with code {self.exit_code()}"
        end = output[-_ERROR_WITHIN_LINES:]
        found = [number for number, line in enumerate(end) if line.startswith(_ERROR_PREFIXES)]
        if found:
            reason = "\n".join(end[found[-1] :]).partition(": ")[2]
            return ChildFailed(f"{exited}: {reason}\nIts log: {self.log}")
        return ChildFailed(
            f"{exited}. The end of {self.log}:\n{_indented(output[-_TAIL_LINES:])}"
            if output
            else f"{exited} and wrote nothing to {self.log}"
        )

    def wait_ready(self, port_file: Path, timeout: float) -> dict[str, str]:
        """Waits until the service has written its addresses.

        Args:
            port_file: where it writes them.
            timeout: seconds; after that the service is stopped.
        Returns:
            {"listen": "host:port", "http": "host:port"}, and "socket", a path, if it has one.
        Raises:
            ChildFailed: the service exited, or was not ready in time.
        """

        def addresses() -> dict[str, str] | None:
            if self.exit_code() is not None:
                raise self.failure()
            return json.loads(port_file.read_text()) if port_file.exists() else None

        found = wait_for(addresses, timeout)
        if found is None:
            self.stop()
            raise ChildFailed(
                f"{self.name} was not ready after {timeout:.0f} s. The end of {self.log}:\n{self.log_tail()}"
            )
        return found

    def stop(self, timeout: float = 10.0) -> int:
        """Sends SIGTERM, and SIGKILL after `timeout` seconds. Returns the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def _indented(lines: list[str]) -> str:
    return "\n".join("  " + line for line in lines)


def _preexec() -> Callable[[], None] | None:
    """Returns what a child does between fork and exec; None for children of other threads than the main one.

    SIGUSR1 requests a checkpoint, and a cluster sends it to all processes; those that do not handle it must not die of
    it. The kernel is asked to send SIGTERM to the child when its parent dies, even by kill -9. For the kernel the
    parent is the thread that forked, so in any other thread than the main one the child would die with that thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        # The parent died before prctl took effect.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return prepare


def wait_for(condition: Callable[[], Found | None], timeout: float) -> Found | None:
    """Polls `condition` until it returns a value other than None, and returns that; None after `timeout` seconds."""
    deadline, pause = time.monotonic() + timeout, _FIRST_POLL_SECONDS
    while True:
        found = condition()
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(pause)
        pause = min(2 * pause, _POLL_SECONDS)
