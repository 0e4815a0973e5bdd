"""The error for a missing file of the package says what to do, and children get the import path that they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pangea.places import MissingFile, data_folder, program, python_environment


def test_the_error_for_a_missing_program_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    with pytest.raises(MissingFile, match=r"pip install .*bazelw build //services"):
        program("go-orchestrator")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PANGEA_BIN_DIR", "PANGEA_DATA_DIR")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    default = data_folder()
    for name in names:
        monkeypatch.setenv(name, "")
    assert data_folder() == default != Path()


def test_a_program_that_cannot_be_executed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    (tmp_path / "rust-compute").write_bytes(b"")
    with pytest.raises(MissingFile, match=r"rust-compute cannot be executed: chmod \+x"):
        program("rust-compute")


def test_children_find_the_packages_of_this_process_in_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "found_by_children.py").write_text("")
    code = "import found_by_children, pangea, pytest"
    subprocess.run([sys.executable, "-c", code], env=python_environment(), cwd=os.sep, check=True)


def test_what_the_interpreter_finds_by_itself_is_not_in_the_environment_of_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = "import json, sys; print(json.dumps(sys.path))"
    own = json.loads(subprocess.check_output([sys.executable, "-P", "-c", code]))
    monkeypatch.setattr(sys, "path", own)
    assert "PYTHONPATH" not in python_environment()


def test_a_relative_entry_keeps_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    assert python_environment()["PYTHONPATH"].split(os.pathsep)[0] == os.path.abspath("somewhere")
