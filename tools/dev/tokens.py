"""The writers of a cache: a file of names and hashed tokens in htpasswd format, which bazel-remote reads again whenever it changes."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from pathlib import Path


def writers(file: Path) -> list[str]:
    """Names in the file, sorted; none if there is no file."""
    return sorted(_entries(file))


def add_writer(file: Path, name: str) -> str:
    """Makes a token for a name, replacing an earlier one.

    Returns:
        the token: 256 random bits. Only its hash is kept.

    Raises:
        ValueError: the name would break the file or a header.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError(f"a writer's name has 1 to 64 letters, digits, dots, dashes and underscores, not {name!r}")
    token = secrets.token_urlsafe(32)
    # Every request is checked against it, so it must be fast; a slow hash protects guessable passwords, and a token is not guessable.
    digest = base64.b64encode(hashlib.sha1(token.encode()).digest()).decode()
    _write(file, {**_entries(file), name: "{SHA}" + digest})
    return token


def remove_writer(file: Path, name: str) -> None:
    """Revokes a name's right to write.

    Raises:
        ValueError: no writer has that name.
    """
    entries = _entries(file)
    if name not in entries:
        raise ValueError(f"no writer is called {name!r} in {file}; there are: {', '.join(sorted(entries)) or 'none'}")
    del entries[name]
    _write(file, entries)


def ensure(file: Path) -> None:
    """Creates a file without writers if there is none."""
    if not file.exists():
        _write(file, {})


def authorization(name: str, token: str) -> str:
    """The value of the `authorization` header in a writer's requests."""
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


def _entries(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _write(file: Path, entries: dict[str, str]) -> None:
    """Replaces the file atomically, readable only for its owner: a running server never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.writelines(f"{name}:{digest}\n" for name, digest in sorted(entries.items()))
    staging.replace(file)
