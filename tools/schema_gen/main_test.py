"""Bindings are copied by language, and old ones do not stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.schema_gen.main import write_bindings


def test_each_language_has_a_folder_and_old_files_go(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("a.capnp.go", "a_capnp.rs", "a_capnp.py", "a_capnp.pyi")]
    for source in sources:
        source.write_text(source.name)
    old = tmp_path / "out" / "go" / "old.go"
    old.parent.mkdir(parents=True)
    old.touch()
    places = write_bindings(sources, tmp_path / "out")
    assert [str(place.relative_to(tmp_path / "out")) for place in places] == [
        "go/a.capnp.go",
        "rust/a_capnp.rs",
        "python/a_capnp.py",
        "python/a_capnp.pyi",
    ]
    assert [place.read_text() for place in places] == [source.name for source in sources]
    assert not old.exists()


def test_another_file_is_refused_before_anything_is_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "kept"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(ValueError, match="not a binding"):
        write_bindings([tmp_path / "a.txt"], tmp_path / "out")
    assert kept.exists()
