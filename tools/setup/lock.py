"""One call of setup.sh at a time: its containers have the same names in every clone, and its files the same place in every call."""

from __future__ import annotations

import fcntl
import os
import pathlib
import tempfile
from typing import BinaryIO


class AlreadyRunning(Exception):
    """Another call holds the lock; the message says which process, and what to do."""


def lock_file() -> pathlib.Path:
    """Of this user: containers of podman are a user's own."""
    return pathlib.Path(tempfile.gettempdir()) / f"pangea-setup-{os.getuid()}.lock"


def take_lock(file: pathlib.Path) -> BinaryIO:
    """Takes the lock until what is given is closed, or this process ends in whatever way.

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
