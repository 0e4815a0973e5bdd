"""Texts and files that somebody else may have written: a run directory from elsewhere, the answer of a peer.

They are read within limits, and an error about them is always a PangeaError. `printable.py` is how they are printed.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from pangea.errors import PangeaError
from pangea.printable import quoted

# A file of a run that is read as a whole is much smaller: run.json and launch.json have a few kilobytes.
MAX_JSON_BYTES = 64 << 20


class UnreadableFile(PangeaError, ValueError):
    """A file, or the answer of a process, does not have the content that was expected; the message says why."""


def open_regular(file: Path, *, directory: int | None = None, follow: bool = True) -> BinaryIO:
    """Opens a file for reading if it is a regular one: a pipe could block forever, a device has no end.

    Args:
        file: its path; relative to `directory`, the descriptor of a folder, if there is one.
        directory: see there.
        follow: whether the last part of the path may be a symbolic link.
    Raises:
        UnreadableFile: it is not a regular file, or the path is not one.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(file, flags, dir_fd=directory)
    except ValueError as error:
        raise UnreadableFile(f"{quoted(str(file))} is not a path: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(f"{quoted(str(file))} is not a regular file; remove it, or restore the one that was there")
    return open(descriptor, "rb")


def decode_json(content: bytes) -> Any:
    """The value that a JSON text has.

    Raises:
        ValueError: it is not JSON, or nested too deeply; the message says why.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def decode_object(content: bytes, what: str) -> dict[str, Any]:
    """The object that a JSON text has.

    Raises:
        UnreadableFile: it has none; the message names `what`.
    """
    try:
        value = decode_json(content)
    except ValueError as error:
        raise UnreadableFile(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableFile(f"{what} is not a JSON object")
    return value


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UnreadableFile: it has none, or is longer than `MAX_JSON_BYTES`.
        OSError: it cannot be read.
    """
    with open_regular(file) as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise UnreadableFile(f"{file} has more than {MAX_JSON_BYTES >> 20} MiB; a file of a run is much smaller")
    return decode_object(content, str(file))


def check_fields(
    found: dict[str, Any], fields: dict[str, tuple[type, ...]], where: str, *, all_of: bool = True
) -> None:
    """Checks the types of the fields of an object; if not `all_of`, of those that it has.

    Raises:
        UnreadableFile: one has another type; the message names it and `where` it is.
    """
    for name, kinds in fields.items():
        if (all_of or name in found) and type(found.get(name)) not in kinds:
            raise UnreadableFile(f"{where} has {quoted(found.get(name))} as {name}; Pangea has not written this")
