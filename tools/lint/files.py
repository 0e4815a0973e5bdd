"""Finds the files of the workspace that linters check."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

# Names of folders that hold what is not ours, or not source.
_PASSED_OVER = {"__pycache__", "bench-results", "generated", "node_modules", "pangea-runs"}


def source_files(workspace: Path) -> list[Path]:
    """All files below the workspace, relative to it, sorted; without Bazel's links, hidden folders (except .ci), and
    results of runs."""
    return sorted(file.relative_to(workspace) for file in _walk(workspace))


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if (
                entry.is_symlink()
                or name in _PASSED_OVER
                or (name.startswith(".") and name != ".ci")
                or name.startswith("bazel-")
            ):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def with_suffix(files: list[Path], *suffixes: str) -> list[str]:
    """The files whose names end with one of these suffixes."""
    return [str(file) for file in files if file.name.endswith(suffixes)]


def with_interpreter(workspace: Path, files: list[Path], interpreter: str) -> list[str]:
    """Scripts without a suffix whose first line names this interpreter."""
    found = []
    for file in files:
        if not file.suffix:
            with (workspace / file).open("rb") as stream:
                first = stream.readline(200)
            if first.startswith(b"#!") and interpreter.encode() in first:
                found.append(str(file))
    return found


def imports_bindings(file: Path) -> bool:
    """Whether a Python file imports bindings that the build generates (`from schemas import tensor_capnp`)."""
    return re.search(r"^from \S+ import (\w+, )*\w+_(capnp|constants)\b", file.read_text(), re.MULTILINE) is not None
