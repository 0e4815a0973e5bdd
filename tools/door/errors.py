"""The one error that the door reports as a sentence."""

from __future__ import annotations

import subprocess
import sys


class DoorError(Exception):
    """Something is missing on this machine; the message says what, and what to do."""


def say(message: str) -> None:
    """Progress, on stderr: stdout belongs to the program that is run."""
    print(f"bazelw: {message}", file=sys.stderr, flush=True)


def run(command: list[str], purpose: str, **options: object) -> str:
    """Runs a program and returns its stdout; a failure becomes a DoorError with the end of what it printed."""
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options
        )  # type: ignore[call-overload]
    except FileNotFoundError:
        raise DoorError(
            f"cannot {purpose}: there is no `{command[0]}` on this machine; install it and try again"
        ) from None
    if result.returncode != 0:
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise DoorError(
            f"cannot {purpose}: `{' '.join(command[:4])}` exited with {result.returncode}:\n  "
            + "\n  ".join(lines[-8:])
        )
    return str(result.stdout)
