"""launch.json is read back as it was written; what contradicts it is refused by name."""

import dataclasses
import json
from pathlib import Path

import pytest

from pangea.resume import CannotResume, finished, merged, open_run, warning
from pangea.settings import FIXED, Launch, Settings, UnusableLaunchFile, script_hash, write_launch


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    script = tmp_path / "script.py"
    script.write_text("print('training')\n")
    settings = Settings(script, ("--lr", "0.1"), workers=3, epochs=7, seed=5, checkpoint_seconds=1.5, run_dir=str(tmp_path))
    return Launch(settings, "run-1", script_hash(script))


def test_a_launch_is_read_back_as_it_was_written(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    assert open_run(tmp_path) == launch
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "a temporary file is left"


def test_a_directory_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CannotResume, match=r"holds no run .*start a run with --run-dir"):
            open_run(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "run_id": "r", "script_sha256": "0", "script": "s", "arguments": [], "wings": 2}'])
def test_a_launch_file_of_another_build_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "launch.json").write_text(text)
    with pytest.raises(UnusableLaunchFile, match="launch.json"):
        open_run(tmp_path)


def test_a_table_of_an_earlier_release_is_normalised_as_it_was(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    file = tmp_path / "launch.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "dataset": "csv:/a.csv,shape=2,label=last,held_out=0.2"}))
    assert open_run(tmp_path).settings.dataset == "csv:/a.csv,shape=2,label=last,normalise=all,held_out=0.2"


def test_what_is_no_part_of_the_arithmetic_may_change(launch: Launch) -> None:
    asked = {"workers": 1, "data_replicas": 2, "checkpoint_steps": 4, "straggler_k": 2.0}
    assert merged(launch.settings, asked) == dataclasses.replace(launch.settings, workers=1, data_replicas=2, checkpoint_steps=4, straggler_k=2.0)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"epochs": 8}, r"--epochs 8 \(the run has 7\)"),
        ({"seed": 6, "shards": 4}, r"--shards 4 \(the run has 8\), --seed 6 \(the run has 5\)"),
        ({"script": Path("/other.py")}, "SCRIPT /other.py"),
        ({"arguments": ("--lr", "0.2")}, r"the script's arguments --lr 0.2 \(the run has --lr 0.1\)"),
        ({"dataset": "stdlib"}, "--dataset stdlib"),
        ({"allow_nondeterminism": True}, "--allow-nondeterminism"),
    ],
)
def test_a_contradiction_is_refused_by_name(asked: dict[str, object], named: str, launch: Launch) -> None:
    with pytest.raises(CannotResume, match=named):
        merged(launch.settings, asked)


def test_the_same_again_is_no_contradiction(launch: Launch) -> None:
    assert merged(launch.settings, {name: getattr(launch.settings, name) for name in FIXED}) == launch.settings


def test_a_changed_script_is_warned_of_and_a_missing_one_refused(launch: Launch) -> None:
    assert warning(launch) is None
    launch.settings.script.write_text("print('something else')\n")
    assert "has changed" in (warning(launch) or "")
    launch.settings.script.unlink()
    with pytest.raises(CannotResume, match="is gone"):
        warning(launch)


def test_a_run_is_finished_with_all_its_steps_and_results(tmp_path: Path) -> None:
    assert not finished(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"state": "finished"}))
    assert not finished(tmp_path), "the worker died before it wrote the results"
    (tmp_path / "result.json").write_text("{}")
    assert finished(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"state": "stopped"}))
    assert not finished(tmp_path)
