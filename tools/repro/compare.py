"""Compares the outputs of two builds byte for byte, and explains the differences."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tools.repro.elf import ELF, sections

_SHOWN = 5
_TEXT = re.compile(rb"[\x20-\x7e]{6,}")


@dataclass(frozen=True)
class Output:
    """A file or folder that a target builds; its path is relative to the workspace (bazel-out/...)."""

    target: str
    path: str


@dataclass(frozen=True)
class Compared:
    """One file of both builds; the cause is empty if both are identical. A digest is a SHA-256, or empty if the file is missing."""

    target: str
    path: str
    first: str
    second: str
    cause: str


def compare(outputs: list[Output], first: Path, second: Path) -> list[Compared]:
    """All files of the outputs, sorted; folders are compared file by file.

    Args:
        outputs: what to compare.
        first: workspace of the first build.
        second: workspace of the second build.

    Raises:
        ValueError: an output is in neither build, so that nothing was compared.
    """
    found: dict[str, Compared] = {}
    for output in outputs:
        names = {file.relative_to(base).as_posix() for base in (first, second) for file in _files(base / output.path)}
        if not names:
            raise ValueError(f"{output.path} of {output.target} is in neither build; was it built?")
        for name in names:
            found.setdefault(name, _compare_file(output.target, name, first / name, second / name))
    return [found[name] for name in sorted(found)]


def _files(place: Path) -> list[Path]:
    """The file itself, or all files below a folder."""
    if place.is_dir():
        return [file for file in place.rglob("*") if file.is_file() or file.is_symlink()]
    return [place] if place.exists() else []


def _compare_file(target: str, name: str, first: Path, second: Path) -> Compared:
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "" for file in (first, second)]
    if digests[0] == digests[1] and digests[0]:
        cause = ""
    elif not all(digests):
        cause = f"missing in the {'second' if digests[0] else 'first'} build"
    else:
        cause = explain(first.read_bytes(), second.read_bytes())
    return Compared(target, name, digests[0], digests[1], cause)


def explain(first: bytes, second: bytes) -> str:
    """What differs between two versions of a file: sections of a program, lines of a text, otherwise the first position; and strings that only one of them has."""
    if first.startswith(ELF) and second.startswith(ELF):
        where = "sections " + ", ".join(_differing_sections(first, second))
    elif b"\0" not in first + second:
        lines = zip_longest(first.splitlines(keepends=True), second.splitlines(keepends=True))
        number, (one, other) = next((number, pair) for number, pair in enumerate(lines, 1) if pair[0] != pair[1])
        return f"line {number}: {_shown(one)} against {_shown(other)}"
    else:
        place = next(
            (number for number, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
            min(len(first), len(second)),
        )
        where = f"{len(first)} bytes against {len(second)}, from byte {place} on"
    ours, theirs = set(_TEXT.findall(first)), set(_TEXT.findall(second))
    only = [
        f"{name} only: {', '.join(_shown(text) for text in sorted(texts)[:_SHOWN])}"
        for name, texts in (("first", ours - theirs), ("second", theirs - ours))
        if texts
    ]
    return "; ".join([where, *only])


def _differing_sections(first: bytes, second: bytes) -> list[str]:
    ours, theirs = sections(first), sections(second)
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return differing or ["(none: only headers or padding)"]


def _shown(text: bytes | None) -> str:
    return "nothing" if text is None else repr(text.decode("utf-8", "replace")[:160])
