"""Tokens are shown once, kept as hashes, and useless once they are revoked."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tools.dev import tokens


def test_only_the_hash_of_a_token_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "new" / "writers"
    token = tokens.add_writer(file, "ci")
    digest = base64.b64encode(hashlib.sha1(token.encode()).digest()).decode()
    assert file.read_text() == f"ci:{{SHA}}{digest}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_token_replaces_the_first_and_leaves_others(tmp_path: Path) -> None:
    file = tmp_path / "writers"
    first, other = tokens.add_writer(file, "ci"), tokens.add_writer(file, "release")
    before = file.read_text()
    assert tokens.add_writer(file, "ci") not in (first, other)
    assert tokens.writers(file) == ["ci", "release"]
    assert file.read_text().splitlines()[1] == before.splitlines()[1] and file.read_text() != before


def test_a_removed_writer_is_gone_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "writers"
    tokens.add_writer(file, "ci")
    tokens.remove_writer(file, "ci")
    assert tokens.writers(file) == []
    with pytest.raises(ValueError, match="no writer is called 'ci'"):
        tokens.remove_writer(file, "ci")


@pytest.mark.parametrize("name", ["", "a:b", "two words", "#c", "x" * 65, "a\nb"])
def test_a_name_that_would_break_the_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a writer's name"):
        tokens.add_writer(tmp_path / "writers", name)
    assert not (tmp_path / "writers").exists()


def test_no_file_means_no_writers(tmp_path: Path) -> None:
    assert tokens.writers(tmp_path / "writers") == []
    tokens.ensure(tmp_path / "writers")
    assert (tmp_path / "writers").read_text() == ""
