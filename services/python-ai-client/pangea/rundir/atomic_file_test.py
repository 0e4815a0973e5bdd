"""Files are replaced atomically, also by several independent writers."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pangea.rundir.atomic_file import write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["weights"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_writers_with_the_same_process_number_do_not_disturb_each_other(tmp_path: Path) -> None:
    # The threads of one process stand for processes of several containers over one volume, all of them number 1.
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as writers:
        for _ in range(20):
            list(writers.map(lambda data: write_atomically(tmp_path / "weights", data), contents))
    assert (tmp_path / "weights").read_bytes() in contents
    assert os.listdir(tmp_path) == ["weights"]


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Makes writes beyond `size` bytes of a file fail, as they do on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    with files_at_most(1 << 20), pytest.raises(OSError, match="too large"):
        write_atomically(file, bytes(2 << 20))
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "weights", b"new")
    assert os.listdir(tmp_path) == ["weights"]
