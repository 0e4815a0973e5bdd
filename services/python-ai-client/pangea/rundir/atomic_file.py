"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pangea.errors import PangeaError


class DiskError(PangeaError, OSError):
    """A file or folder could not be made or written; the message says which, why, and what to do."""


@contextmanager
def explain_disk_errors(what: str, remedy: str) -> Iterator[None]:
    """Turns an error of the disk into one sentence.

    Args:
        what: could not be done, in words.
        remedy: what to do.
    Raises:
        DiskError: instead of any OSError.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise DiskError(f"{what}: {error.strerror or error}; {remedy}") from error


def write_atomically(file: Path, data: bytes) -> None:
    """Replaces `file` in one step, on disk before it has its name. Others may write the same file at the same time: the last one stays.

    Raises:
        OSError: it could not be written, such as on a full disk; then nothing has changed.
    """
    # A name that nobody else has: in containers every process is number 1.
    descriptor, staging = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(descriptor, "wb") as stream:
            # As any new file: mkstemp's is for its owner alone.
            os.fchmod(descriptor, 0o644)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        os.replace(staging, file)
    except BaseException:
        # Of no use to anybody, and on a full disk in the way.
        os.unlink(staging)
        raise
