"""Files are replaced whole, also by several writers that know nothing of each other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pangea.files import write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["weights"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_writers_with_the_same_process_number_do_not_disturb_each_other(tmp_path: Path) -> None:
    # As processes of several containers over one volume are, all of them number 1: here threads of one process.
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as writers:
        for _ in range(20):
            list(writers.map(lambda data: write_atomically(tmp_path / "weights", data), contents))
    assert (tmp_path / "weights").read_bytes() in contents
    assert os.listdir(tmp_path) == ["weights"]
