"""The error for a missing file of the package says how to build it."""

from pathlib import Path

import pytest

from pangea.places import MissingFile, program


def test_the_error_for_a_missing_program_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    with pytest.raises(MissingFile, match="bazelw build //services"):
        program("go-orchestrator")
