"""`kill_container.py ENGINE NAME`: SIGKILL to the first process of a container, as the kernel would when memory runs out.

An engine that is told to kill takes it for the user's wish and leaves the container down, whatever its restart policy says; a process that dies is
started again. Where its process belongs to another user, the engine kills the container and starts it again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def _engine(*words: str) -> str:
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"kill_container: `{' '.join(words)}` ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout.strip()


def main(engine: str, name: str) -> None:
    """Kills it; exits with a sentence if it does not run."""
    process = int(_engine(engine, "inspect", "--format", "{{.State.Pid}}", name))
    if process == 0:
        sys.exit(f"kill_container: {name} has no process; it does not run")
    try:
        os.kill(process, signal.SIGKILL)
    except PermissionError:
        _engine(engine, "kill", name)
        _engine(engine, "start", name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
