"""What belongs to the package and is not there is named, with the way to get it."""

from pathlib import Path

import pytest

from pangea.places import MissingFile, program


def test_a_missing_program_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    with pytest.raises(MissingFile, match="bazelw build //services"):
        program("go-orchestrator")
