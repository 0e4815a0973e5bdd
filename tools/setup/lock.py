"""Only one call of setup.sh at a time: its containers have the same names in every clone, and its files the same paths in every call."""

from __future__ import annotations

import fcntl
import os
import pathlib
import tempfile
from typing import BinaryIO


class AlreadyRunning(Exception):
    """Another call holds the lock; the message says which process, and what to do."""


def lock_file() -> pathlib.Path:
    """The lock file of this user: podman containers belong to a user."""
    return pathlib.Path(tempfile.gettempdir()) / f"pangea-setup-{os.getuid()}.lock"


def take_lock(file: pathlib.Path) -> BinaryIO:
    """Takes the lock until the returned file is closed, or until this process ends for any reason.

    Raises:
        AlreadyRunning: another process has it.
    """
    stream = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+b")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = stream.read().decode() or "unknown"
        stream.close()
        raise AlreadyRunning(
            f"another setup.sh of this user is running (process {holder}, lock {file}), and the containers of both would have the same names; wait for it, or stop it"
        ) from None
    stream.truncate(0)
    stream.write(str(os.getpid()).encode())
    stream.flush()
    return stream
