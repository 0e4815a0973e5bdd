"""Advisories in the OSV format (https://ossf.github.io/osv-schema/), and whether one concerns a version.

Versions are compared by the library univers, each ecosystem in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from univers.versions import DebianVersion, GolangVersion, InvalidVersion, PypiVersion, SemverVersion, Version

# How each ecosystem compares versions. Others are not in our bills.
ECOSYSTEMS: dict[str, type[Version]] = {
    "crates.io": SemverVersion,
    "Go": GolangVersion,
    "PyPI": PypiVersion,
    "Debian": DebianVersion,
}
_EVENTS = ("introduced", "fixed", "last_affected")


class BadAdvisory(ValueError):
    """A file is not an advisory, or one that cannot be compared; the message says which and why."""


@dataclass(frozen=True)
class Range:
    """Versions from `introduced` on (None: from the first) up to `fixed`, without it, or up to and with `last`."""

    introduced: str | None
    fixed: str | None
    last: str | None


@dataclass(frozen=True)
class Affected:
    """What an advisory says about one package.

    Attributes:
        advisory: its id.
        summary: in a line.
        versions: single versions that are affected.
        ranges: affected ranges.
    """

    advisory: str
    summary: str
    versions: tuple[str, ...]
    ranges: tuple[Range, ...]

    def concerns(self, ecosystem: str, version: str) -> bool:
        """Whether the version is affected.

        Raises:
            BadAdvisory: a version cannot be compared.
        """
        if version in self.versions:
            return True
        kind = ECOSYSTEMS[ecosystem]
        try:
            found = kind(version)
            return any(_in_range(kind, found, one) for one in self.ranges)
        except (InvalidVersion, TypeError, ValueError) as error:
            raise BadAdvisory(f"{self.advisory} cannot be compared with version {version}: {error}") from error


def _in_range(kind: type[Version], version: Version, one: Range) -> bool:
    after = one.introduced is None or version >= kind(one.introduced)
    before = (one.fixed is None or version < kind(one.fixed)) and (one.last is None or version <= kind(one.last))
    return bool(after and before)


Database = dict[tuple[str, str], list[Affected]]


def read_databases(folders: list[Path]) -> Database:
    """All advisories in the folders and below, by ecosystem and package.

    Raises:
        BadAdvisory: a file is not one, or there are none: a check against nothing would always pass.
    """
    found: Database = {}
    for folder in folders:
        files = sorted(folder.rglob("*.json"))
        count = 0
        for file in files:
            for key, affected in _read(file):
                count += 1
                found.setdefault(key, []).append(affected)
        if not count:
            raise BadAdvisory(f"{folder} has no advisories in the OSV format; name the folder with their JSON files")
    return found


def _read(file: Path) -> Iterator[tuple[tuple[str, str], Affected]]:
    try:
        content: Any = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadAdvisory(f"{file} is not JSON: {error}") from error
    # Databases have indexes beside their advisories.
    if not isinstance(content, dict) or "id" not in content or "affected" not in content:
        return
    if "withdrawn" in content:
        return
    try:
        summary = str(content.get("summary") or content.get("details", ""))
        for entry in content["affected"]:
            package = entry.get("package", {})
            ecosystem = str(package.get("ecosystem", "")).partition(":")[0]
            if ecosystem in ECOSYSTEMS:
                key = (ecosystem, normalised(ecosystem, str(package["name"])))
                yield key, Affected(content["id"], _line(summary), tuple(entry.get("versions", ())), _ranges(entry))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAdvisory(f"{file} is not an advisory in the OSV format: {error!r}") from error


def _line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 120 else line[:117] + "..."


def _ranges(entry: dict[str, Any]) -> tuple[Range, ...]:
    """The ranges of versions. Those of commits (GIT) say nothing about a version."""
    found = []
    for one in entry.get("ranges", ()):
        if one["type"] == "GIT":
            continue
        begun: str | None = None
        is_open = False
        for event in one["events"]:
            ((kind, version),) = [(kind, str(event[kind])) for kind in _EVENTS if kind in event] or [("", "")]
            if kind == "introduced":
                begun, is_open = None if version == "0" else version, True
            elif kind and is_open:
                found.append(
                    Range(begun, version if kind == "fixed" else None, version if kind == "last_affected" else None)
                )
                is_open = False
        if is_open:
            found.append(Range(begun, None, None))
    return tuple(found)


def normalised(ecosystem: str, name: str) -> str:
    """The name of a package as its ecosystem compares it."""
    return name.lower().replace("_", "-").replace(".", "-") if ecosystem == "PyPI" else name
