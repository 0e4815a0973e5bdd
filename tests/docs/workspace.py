"""The workspace's files, as `workspace_tree` hands them into the sandbox."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_BUILD_FILES = ("BUILD", "BUILD.bazel")


def _list() -> Path:
    return Path(os.environ["WORKSPACE_PATHS"])


@cache
def files() -> list[str]:
    """Paths of all files, from the workspace's root, sorted."""
    return _list().read_text().splitlines()


@cache
def folders() -> set[str]:
    """Paths of all folders that hold a file."""
    return {str(parent) for file in files() for parent in Path(file).parents}


def is_there(path: str) -> bool:
    """Whether there is such a file or folder."""
    return path in set(files()) or path.rstrip("/") in folders()


def read(path: str) -> str:
    """The text of a file; bytes that are not UTF-8 are replaced."""
    name = path + ".txt" if path.endswith(_BUILD_FILES) else path
    return (_list().parent / "tree" / name).read_text(errors="replace")
