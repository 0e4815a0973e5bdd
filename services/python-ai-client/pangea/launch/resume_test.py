"""launch.json is read back as it was written; what contradicts it is refused by name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pangea.launch.resume import CannotResume, find_data, merged, nothing_left, open_run, warning
from pangea.launch.settings import Launch, Settings, UnusableLaunchFile, script_hash, write_launch
from pangea.release import RELEASE
from pangea.rundir.atomic_file import DiskError


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    script = tmp_path / "script.py"
    script.write_text("print('training')\n")
    settings = Settings(script, ("--lr", "0.1"), workers=3, epochs=7, seed=5, checkpoint_seconds=1.5, run_dir=str(tmp_path))
    return Launch(settings, "run-1", script_hash(script))


def test_a_launch_is_read_back_as_it_was_written(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    assert open_run(tmp_path) == launch
    assert json.loads((tmp_path / "launch.json").read_text())["release"] == RELEASE
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "a temporary file is left"


def test_a_directory_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CannotResume, match=r"holds no run .*start a run with --run-dir"):
            open_run(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 3}', "\x00", '{"format": 2, "run_id": "r", "script_sha256": "0", "script": "s", "arguments": [], "wings": 2}', '{"format": 1, "run_id": "r"}'],
)
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


def test_a_launch_file_of_the_first_format_means_what_it_meant(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    file = tmp_path / "launch.json"
    content = json.loads(file.read_text())
    for later in ("strict", "min_shard_samples", "drop_last", "rehearse"):
        del content[later]
    file.write_text(json.dumps({**content, "format": 1, "allow_nondeterminism": True}))
    found = open_run(tmp_path)
    assert (found.settings.min_shard_samples, found.settings.drop_last, found.settings.strict) == (0, False, False)
    assert (found.settings.epochs, found.settings.arguments, found.run_id) == (7, ("--lr", "0.1"), "run-1")
    write_launch(tmp_path, found)
    assert open_run(tmp_path) == found


def test_taking_changes_is_asked_for_with_each_start(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, dataclasses.replace(launch, settings=dataclasses.replace(launch.settings, take_changes=True)))
    assert not open_run(tmp_path).settings.take_changes


def test_a_launch_file_that_cannot_be_written_is_a_sentence(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot write .*launch.json: .*; make room"):
        write_launch(tmp_path / "gone", launch)


def test_what_is_no_part_of_the_arithmetic_may_change(launch: Launch) -> None:
    asked: dict[str, Any] = {"workers": 1, "data_replicas": 2, "checkpoint_steps": 4, "straggler_k": 2.0, "epochs": 8, "dataset": "csv:/moved.csv,shape=4", "strict": False}
    assert merged(launch, asked) == dataclasses.replace(launch, settings=dataclasses.replace(launch.settings, **asked))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"epochs": 6}, r"--epochs 6 is fewer than the 7"),
        ({"seed": 6, "shards": 4}, r"--shards 4 \(the run has 8\), --seed 6 \(the run has 5\)"),
        ({"batch_size": 32}, "--batch-size 32"),
        ({"min_shard_samples": 1}, r"--min-shard-samples 1 \(the run has 2\)"),
        ({"drop_last": True, "take_changes": True}, r"--drop-last True \(the run has False\)"),
        ({"arguments": ("--lr", "0.2")}, r"the script's arguments are '--lr 0.2' and were '--lr 0.1'; .*--take-changes"),
    ],
)
def test_a_contradiction_is_refused_by_name(asked: dict[str, object], named: str, launch: Launch) -> None:
    with pytest.raises(CannotResume, match=named):
        merged(launch, asked)


def test_the_same_again_is_no_contradiction(launch: Launch) -> None:
    assert merged(launch, {field.name: getattr(launch.settings, field.name) for field in dataclasses.fields(Settings)}) == launch


def test_a_script_may_lie_somewhere_else_but_another_one_is_taken_only_on_request(launch: Launch, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved.py", tmp_path / "other.py"
    moved.write_text(launch.settings.script.read_text())
    other.write_text("print('other')\n")
    assert merged(launch, {"script": moved}).settings.script == moved
    with pytest.raises(CannotResume, match=rf"SCRIPT {other} has another content than .*--take-changes"):
        merged(launch, {"script": other})
    taken = merged(launch, {"script": other, "arguments": (), "take_changes": True})
    assert (taken.settings.script, taken.script_sha256) == (other, script_hash(other))
    assert warning(taken) is None


def test_a_changed_script_is_warned_of_and_a_missing_one_refused(launch: Launch) -> None:
    assert warning(launch) is None
    launch.settings.script.write_text("print('something else')\n")
    assert "has changed" in (warning(merged(launch, {})) or "")
    launch.settings.script.unlink()
    with pytest.raises(CannotResume, match="is gone"):
        merged(launch, {})


def test_data_that_is_gone_names_the_option(launch: Launch, tmp_path: Path) -> None:
    find_data(launch)
    with pytest.raises(CannotResume, match=rf"there is no file {tmp_path / 'gone.csv'}.*--dataset"):
        find_data(merged(launch, {"dataset": f"csv:{tmp_path / 'gone.csv'},shape=4"}))


def test_nothing_is_left_of_a_finished_run_unless_more_is_asked_for(launch: Launch, tmp_path: Path) -> None:
    saved = launch.settings
    assert not nothing_left(tmp_path, saved, saved)
    (tmp_path / "run.json").write_text(json.dumps({"state": "finished"}))
    assert not nothing_left(tmp_path, saved, saved), "the worker died before it wrote the results"
    (tmp_path / "result.json").write_text("{}")
    assert nothing_left(tmp_path, saved, saved)
    assert nothing_left(tmp_path, saved, dataclasses.replace(saved, take_changes=True))
    assert not nothing_left(tmp_path, saved, dataclasses.replace(saved, epochs=8))
    (tmp_path / "run.json").write_text(json.dumps({"state": "finished", "stopped": "good enough"}))
    assert nothing_left(tmp_path, saved, saved)
    assert not nothing_left(tmp_path, saved, dataclasses.replace(saved, take_changes=True))
    (tmp_path / "run.json").write_text(json.dumps({"state": "stopped"}))
    assert not nothing_left(tmp_path, saved, saved)
