"""Python processes that start in milliseconds: forks of one that has imported torch already.

Importing torch takes most of a small worker's processor time, and a suite starts hundreds of workers. A fork is
a process of its own, with its own session, environment, log and exit code, and becomes a child of the test: whatever is
killed, stopped or signalled is the worker itself. Only what happens before the first line of a script is shared.

A fork also shares the seed of `hash()` with its siblings. Tests that compare the bits of several workers without other
faults start new interpreters instead.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pangea.places import python_environment
from pangea.services.child import Child

# linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TICK_SECONDS = 0.001
# What every worker imports: `join` brings the rest of the package, an optimizer's first step torch._dynamo.
_IMPORTS = "import torch, torch._dynamo, numpy, pangea; pangea.join"


@dataclass(frozen=True)
class _Order:
    """A process to start. `words` are those behind `python`: a script, or `-m` and a module, with its arguments."""

    words: list[str]
    log: str
    environment: dict[str, str]
    parent: int


class _Fork:
    """The part of `subprocess.Popen` that `Child` uses, for a child of this process that somebody else has forked."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None

    returncode: int | None

    def poll(self) -> int | None:
        """Exit code, -N after signal N; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the process."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_TICK_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        self.send_signal(signal.SIGKILL)


class WarmChild(Child):
    """A `Child` that was forked instead of started."""

    def __init__(self, name: str, log: Path, log_start: int, pid: int) -> None:
        self.name, self.log, self._log_start = name, log, log_start
        self.process = _Fork(pid)  # type: ignore[assignment]  # All that Child uses of it is there.


class WarmPython:
    """The process that is forked, as this test sees it. Started at the first use."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None

    def start(self, name: str, words: Sequence[str], log: Path, environment: dict[str, str]) -> Child:
        """Starts `python WORDS`; its output goes to the end of `log`."""
        if self._connection is None:
            self._connection = self._serve()
        log_start = log.stat().st_size if log.exists() else 0
        _send(self._connection, asdict(_Order([*words], str(log), environment, os.getpid())))
        pid = json.loads(_receive(self._connection))
        return WarmChild(name, log, log_start, pid)

    def _serve(self) -> socket.socket:
        # Forks whose own parent is gone become children of this process.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ours, theirs = socket.socketpair()
        # OpenBLAS would start a thread for each further processor; workers compute in one anyway.
        environment = {**python_environment(), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            subprocess.Popen(
                [sys.executable, "-m", "tests.harness.warm", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        return ours


def _send(connection: socket.socket, message: object) -> None:
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(4) + data)


def _receive(connection: socket.socket) -> bytes:
    """One message; empty when the other side is gone."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count and (part := connection.recv(count - len(data))):
            data += part
        return data

    return exactly(int.from_bytes(exactly(4)))


def _next_order(connection: socket.socket) -> _Order:
    """Forks for each order that arrives; returns in the fork alone, and ends this process when the test is gone."""
    while message := _receive(connection):
        order = _Order(**json.loads(message))
        reader, writer = os.pipe()
        # In two steps: the kernel gives a fork whose parent ends to the test.
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                for descriptor in (reader, writer, connection.detach()):
                    os.close(descriptor)
                return order
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(between, 0)
        _send(connection, int(os.read(reader, 20)))
        os.close(reader)
    sys.exit()


def _become(order: _Order) -> None:
    """Makes this fork what `Child` makes of a new process."""
    while os.getppid() != order.parent:
        time.sleep(_TICK_SECONDS)
    os.setsid()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    with open(os.devnull, "rb") as nothing, open(order.log, "ab") as log:
        for stream, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(order.environment)
    random.seed()


def main() -> None:
    """Usage: `python -m tests.harness.warm DESCRIPTOR`, of the socket that orders arrive on."""
    exec(_IMPORTS, {})
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        raise RuntimeError(f"{len(threads)} threads run after `{_IMPORTS}`; a fork would have only one of them")
    order = _next_order(socket.socket(fileno=int(sys.argv[1])))
    _become(order)
    # Not this module's own: Pangea's messages name the line of the file that `__main__` has.
    main_module = sys.modules["__main__"] = types.ModuleType("__main__")
    if order.words[0] == "-m":
        sys.argv = order.words[1:]
        runpy.run_module(order.words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = order.words
        script = main_module.__file__ = order.words[0]
        sys.path.insert(0, os.path.dirname(script))
        exec(compile(Path(script).read_bytes(), script, "exec"), main_module.__dict__)


if __name__ == "__main__":
    main()
