"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(file: Path, data: bytes) -> None:
    """Replaces `file` in one step, on disk before it has its name."""
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    with staging.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    staging.replace(file)
