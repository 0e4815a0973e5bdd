"""The bytes of a wheel depend on its members alone, and installers find what they look for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tools.wheel.pack.archive import write_archive

INFO = "it-1.dist-info"
MEMBERS = {f"{INFO}/METADATA": b"Name: it\n", "it/program": b"#!", "it/__init__.py": b"", "zz.py": b"1\n"}


def write(file: Path, members: dict[str, bytes]) -> bytes:
    write_archive(file, INFO, members, ["it/program"])
    return file.read_bytes()


def test_neither_the_order_nor_the_time_nor_the_file_changes_a_byte(tmp_path: Path) -> None:
    one = write(tmp_path / "one.whl", MEMBERS)
    assert one == write(tmp_path / "other.whl", dict(reversed(MEMBERS.items())))


def test_the_metadata_comes_last_and_the_record_names_every_member(tmp_path: Path) -> None:
    write(tmp_path / "it.whl", MEMBERS)
    with zipfile.ZipFile(tmp_path / "it.whl") as archive:
        assert archive.namelist() == ["it/__init__.py", "it/program", "zz.py", f"{INFO}/METADATA", f"{INFO}/RECORD"]
        assert archive.read(f"{INFO}/RECORD").decode().splitlines() == [
            "it/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0",
            "it/program,sha256=NhLdr0bhSaT1g_rw-s6EZYUUj1ngziZFWU34O13IB-g,2",
            "zz.py,sha256=Q1WkaxnTSNwvV8BG-O9j1FOOu5NgAPPJ7pVKJ0YN2GU,2",
            f"{INFO}/METADATA,sha256=AiFFnsKJslUJbL5p7QYRppCvoo4xvtT9bN9IlvYygis,9",
            f"{INFO}/RECORD,,",
        ]


def test_only_programs_can_be_executed(tmp_path: Path) -> None:
    write(tmp_path / "it.whl", MEMBERS)
    with zipfile.ZipFile(tmp_path / "it.whl") as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes.pop("it/program") == 0o755 and set(modes.values()) == {0o644}


def test_a_program_that_is_not_a_member_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^it/program: named as a program, but not in the wheel$"):
        write(tmp_path / "it.whl", {})
