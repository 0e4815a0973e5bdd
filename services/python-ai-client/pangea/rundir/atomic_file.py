"""Atomic replacement of files, and errors of the disk that say what to do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pangea.errors import PangeaError


class DiskError(PangeaError, OSError):
    """A file or folder could not be created or written; the message says which, why, and what to do."""


@contextmanager
def explain_disk_errors(what: str, remedy: str) -> Iterator[None]:
    """Turns any OSError into a DiskError whose message is "WHAT: REASON; REMEDY".

    Args:
        what: the failure, such as "cannot write FILE".
        remedy: what the user can do.
    Raises:
        DiskError: instead of any OSError.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise DiskError(f"{what}: {error.strerror or error}; {remedy}") from error


def write_atomically(file: Path, data: bytes, mode: int = 0o644) -> None:
    """Replaces `file` atomically and durably: its content is synced before it gets its name.

    Of concurrent writers the last one wins.

    Raises:
        OSError: it could not be written, for example because the disk is full; the old file is unchanged.
    """
    # Process numbers do not make a unique name: in containers each writer may be number 1.
    descriptor, staging = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(descriptor, "wb") as stream:
            # The default is the usual mode of a new file; mkstemp's is readable by its owner only.
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        os.replace(staging, file)
    except BaseException:
        # A partial file is useless, and takes space on a disk that may be full.
        os.unlink(staging)
        raise
