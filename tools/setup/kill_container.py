"""`kill_container.py ENGINE NAME`: SIGKILL to the first process of a container, as the kernel would when memory runs out.

An engine treats its own kill command as intentional and leaves the container down, whatever its restart policy; a container whose process dies is
restarted. If the process belongs to another user, the engine kills the container and starts it again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def _engine(*words: str) -> str:
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"kill_container: `{' '.join(words)}` exited with {result.returncode}: {result.stderr.strip()}")
    return result.stdout.strip()


def main(engine: str, name: str) -> None:
    """Kills the container's process; exits with a sentence if it is not running."""
    process = int(_engine(engine, "inspect", "--format", "{{.State.Pid}}", name))
    if process == 0:
        sys.exit(f"kill_container: {name} has no process; it is not running")
    try:
        os.kill(process, signal.SIGKILL)
    except PermissionError:
        _engine(engine, "kill", name)
        _engine(engine, "start", name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
