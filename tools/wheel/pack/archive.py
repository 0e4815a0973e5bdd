"""Writes the archive of a wheel; https://packaging.python.org/specifications/binary-distribution-format."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

# The earliest time that a zip file can have: pip gives files the time of their installation.
_TIME = (1980, 1, 1, 0, 0, 0)
_FILE, _PROGRAM = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755


def write_archive(output: Path, dist_info: str, members: Mapping[str, bytes], programs: Collection[str]) -> None:
    """Writes a wheel whose bytes depend on the arguments alone.

    Args:
        output: the file to write.
        dist_info: the folder of the metadata. Its members come last, RECORD at the end, so that an installer that reads
            from the end of the file finds them.
        members: path -> content.
        programs: paths of the members that can be executed.
    Raises:
        ValueError: one of the programs is not a member.
    """
    if missing := sorted(set(programs) - members.keys()):
        raise ValueError(f"{', '.join(missing)}: named as a program, but not in the wheel")
    paths = sorted(members, key=lambda path: (path.startswith(f"{dist_info}/"), path))
    record = f"{dist_info}/RECORD"
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            _write(archive, path, members[path], _PROGRAM if path in programs else _FILE)
        _write(archive, record, _record([*((path, members[path]) for path in paths), (record, None)]), _FILE)


def _write(archive: zipfile.ZipFile, path: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(path, _TIME)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, mode << 16
    archive.writestr(entry, content)


def _record(members: list[tuple[str, bytes | None]]) -> bytes:
    """One line a member: path, hash, size; of RECORD itself only the path."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for path, content in members:
        lines.writerow([path, "", ""] if content is None else [path, f"sha256={_digest(content)}", len(content)])
    return text.getvalue().encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
