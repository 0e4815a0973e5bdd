"""Advisories that are accepted for now, with the reason: accepted.toml."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Accepted:
    """An advisory that does not concern us, until a day."""

    id: str
    package: str
    reason: str
    until: dt.date


def read_accepted(file: Path) -> list[Accepted]:
    """The entries of the file.

    Raises:
        ValueError: one has no reason, or lacks a field.
    """
    found = []
    for entry in tomllib.loads(file.read_text())["accepted"]:
        try:
            one = Accepted(entry["id"], entry["package"], entry["reason"], entry["until"])
        except KeyError as error:
            raise ValueError(f"{file}: {entry.get('id', 'an entry')} lacks {error}") from error
        if not one.reason.strip() or not isinstance(one.until, dt.date):
            raise ValueError(f"{file}: {one.id} needs a reason, and a day without quotes as `until`")
        found.append(one)
    return found
