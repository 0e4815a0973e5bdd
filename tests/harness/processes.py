"""Processes of a run: what a test inflicts on them, and which ones exist."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pangea.services.child import Child
from tools.processes.waiting import eventually


def wait_exit(child: Child) -> int:
    """Waits until the process has ended; gives its exit code, -N after signal N."""
    eventually(lambda: child.exit_code() is not None, f"{child.name} ends")
    code = child.exit_code()
    assert code is not None
    return code


def kill(child: Child) -> None:
    """Kills a process, even a paused one, and waits for its end."""
    child.process.kill()
    child.process.wait()


def pause(child: Child) -> None:
    """Stops the whole process (SIGSTOP); its connections stay open."""
    child.process.send_signal(signal.SIGSTOP)


def resume(child: Child) -> None:
    """Ends a pause."""
    child.process.send_signal(signal.SIGCONT)


def find_processes(belongs: Callable[[bytes, bytes], bool]) -> dict[int, str]:
    """The command line, by pid, of all processes that `belongs` accepts.

    Args:
        belongs: gets the command line and the environment, as /proc has them: each word ends with NUL.
    """
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        # The process may end while it is looked at.
        with suppress(OSError):
            command, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            if belongs(command, variables):
                found[int(entry.name)] = command.decode(errors="replace")
    return found


def parent_of(pid: int) -> int:
    """The pid of a process's parent; 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
