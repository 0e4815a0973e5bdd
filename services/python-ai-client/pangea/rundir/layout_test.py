"""Run directories are created once and never overwritten."""

from pathlib import Path

import pytest

from pangea.rundir.layout import new_run_dir


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_run_directory_is_relative_to_the_callers_folder(caller: Path) -> None:
    assert new_run_dir("here", 0) == caller / "here"
    assert (caller / "here" / "logs").is_dir()


def test_the_default_is_under_pangea_runs_and_names_the_seed(caller: Path) -> None:
    run_dir = new_run_dir(None, 17)
    assert run_dir.parent == caller / "pangea-runs"
    assert "-17-" in run_dir.name


def test_a_directory_with_a_run_is_refused_and_left_alone(caller: Path) -> None:
    (caller / "old").mkdir()
    (caller / "old" / "run.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a run already; choose another --run-dir"):
        new_run_dir("old", 0)
    assert [path.name for path in (caller / "old").iterdir()] == ["run.json"]
