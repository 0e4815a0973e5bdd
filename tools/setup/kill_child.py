"""`kill_child.py PID WORD`: SIGKILL to the first child of PID that has WORD in its command line. Exits with 1 if there is none."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Iterator


def children(parent: int) -> Iterator[int]:
    """Process IDs of the children, oldest first."""
    for stat in sorted(pathlib.Path("/proc").glob("[0-9]*/stat"), key=lambda file: int(file.parent.name)):
        try:
            # The name in brackets may hold anything; after it come the state and the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(stat.parent.name)
        except OSError:
            continue


def main(parent: int, word: str) -> int:
    """Kills the child; returns the exit code."""
    for child in children(parent):
        if word.encode() in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
            return 0
    print(f"kill_child: {parent} has no child with {word!r} in its command line", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
