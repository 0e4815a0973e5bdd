"""launch.json is read back as it was written; options that contradict it are refused by name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pangea.launch.resume import CannotResume, check_dataset, distrust, is_complete, merge, open_run, script_warning
from pangea.launch.settings import Launch, Settings, UnusableLaunchFile, script_hash, write_launch
from pangea.places import example
from pangea.release import RELEASE
from pangea.rundir.atomic_file import DiskError


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    script = tmp_path / "script.py"
    script.write_text("print('training')\n")
    settings = Settings(
        script, ("--lr", "0.1"), workers=3, epochs=7, seed=5, checkpoint_seconds=1.5, run_dir=str(tmp_path)
    )
    return Launch(settings, "run-1", script_hash(script))


def test_a_launch_is_read_back_as_it_was_written(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    assert open_run(tmp_path) == launch
    assert json.loads((tmp_path / "launch.json").read_text())["release"] == RELEASE
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "a temporary file was left"


def test_the_error_for_a_directory_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CannotResume, match=r"holds no run .*start a run with --run-dir"):
            open_run(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 3}',
        "\x00",
        '{"format": 2, "run_id": "r", "script_sha256": "0", "script": "s", "arguments": [], "wings": 2}',
        '{"format": 1, "run_id": "r"}',
    ],
)
def test_a_launch_file_of_an_unknown_format_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "launch.json").write_text(text)
    with pytest.raises(UnusableLaunchFile, match="launch.json"):
        open_run(tmp_path)


def test_a_dataset_of_an_earlier_release_is_normalised_as_it_was_then(launch: Launch, tmp_path: Path) -> None:
    write_launch(tmp_path, launch)
    file = tmp_path / "launch.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "dataset": "csv:/a.csv,shape=2,label=last,held_out=0.2"}))
    assert open_run(tmp_path).settings.dataset == "csv:/a.csv,shape=2,label=last,normalise=all,held_out=0.2"


def test_a_launch_file_of_format_1_keeps_its_meaning(launch: Launch, tmp_path: Path) -> None:
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


def test_take_changes_holds_for_one_start_only(launch: Launch, tmp_path: Path) -> None:
    write_launch(
        tmp_path, dataclasses.replace(launch, settings=dataclasses.replace(launch.settings, take_changes=True))
    )
    assert not open_run(tmp_path).settings.take_changes


def test_the_error_for_a_launch_file_that_cannot_be_written_names_it(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot write .*launch.json: .*; free some space"):
        write_launch(tmp_path / "gone", launch)


def test_options_that_do_not_affect_the_computation_may_change(launch: Launch) -> None:
    given: dict[str, Any] = {
        "workers": 1,
        "data_replicas": 2,
        "checkpoint_steps": 4,
        "straggler_k": 2.0,
        "epochs": 8,
        "dataset": "csv:/moved.csv,shape=4",
        "strict": False,
    }
    assert merge(launch, given) == dataclasses.replace(launch, settings=dataclasses.replace(launch.settings, **given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 6}, r"--epochs 6 is fewer than the 7"),
        ({"seed": 6, "shards": 4}, r"--shards 4 \(the run has 8\), --seed 6 \(the run has 5\)"),
        ({"batch_size": 32}, "--batch-size 32"),
        ({"min_shard_samples": 1}, r"--min-shard-samples 1 \(the run has 2\)"),
        ({"drop_last": True, "take_changes": True}, r"--drop-last True \(the run has False\)"),
        (
            {"arguments": ("--lr", "0.2")},
            r"the script's arguments are '--lr 0.2' and were '--lr 0.1'; .*--take-changes",
        ),
    ],
)
def test_a_contradiction_is_refused_by_name(given: dict[str, object], message: str, launch: Launch) -> None:
    with pytest.raises(CannotResume, match=message):
        merge(launch, given)


def test_repeating_an_option_is_not_a_contradiction(launch: Launch) -> None:
    assert (
        merge(launch, {field.name: getattr(launch.settings, field.name) for field in dataclasses.fields(Settings)})
        == launch
    )


def test_a_script_may_have_moved_but_a_different_one_needs_take_changes(launch: Launch, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved.py", tmp_path / "other.py"
    moved.write_text(launch.settings.script.read_text())
    other.write_text("print('other')\n")
    assert merge(launch, {"script": moved}).settings.script == moved
    with pytest.raises(CannotResume, match=rf"SCRIPT {other} differs from .*--take-changes"):
        merge(launch, {"script": other})
    accepted = merge(launch, {"script": other, "arguments": (), "take_changes": True})
    assert (accepted.settings.script, accepted.script_sha256) == (other, script_hash(other))
    assert script_warning(accepted) is None


def test_a_changed_script_is_a_warning_and_a_missing_one_an_error(launch: Launch) -> None:
    assert script_warning(launch) is None
    launch.settings.script.write_text("print('something else')\n")
    assert "has changed" in (script_warning(merge(launch, {})) or "")
    launch.settings.script.unlink()
    with pytest.raises(CannotResume, match="does not exist any more"):
        merge(launch, {})


def test_a_script_in_the_run_directory_is_not_trusted_unless_the_user_names_it(launch: Launch, tmp_path: Path) -> None:
    assert distrust(tmp_path / "run", launch, launch, script_given=False) is None
    reason = distrust(tmp_path, launch, launch, script_given=False)
    assert reason is not None and f"names a script in the run directory itself, {launch.settings.script}" in reason
    assert distrust(tmp_path, launch, launch, script_given=True) is None
    # Neither is it when a link hides where it lies.
    (tmp_path / "link").symlink_to(tmp_path)
    assert distrust(tmp_path / "link", launch, launch, script_given=False) is not None


def test_a_changed_script_is_not_trusted_unless_the_change_is_wanted(launch: Launch, tmp_path: Path) -> None:
    launch.settings.script.write_text("import os\n")
    reason = distrust(tmp_path / "run", launch, launch, script_given=False)
    assert reason is not None and "is not the script with which the run was started" in reason
    wanted = merge(launch, {"take_changes": True})
    assert distrust(tmp_path / "run", launch, wanted, script_given=False) is None


def test_a_program_of_the_interpreter_is_not_trusted_as_a_script(launch: Launch, tmp_path: Path) -> None:
    timeit = Path(json.__file__).parent.parent / "timeit.py"
    named = dataclasses.replace(
        launch, settings=dataclasses.replace(launch.settings, script=timeit), script_sha256=script_hash(timeit)
    )
    assert "a program of this machine's Python" in (distrust(tmp_path / "run", named, named, script_given=False) or "")
    shipped = example("digits.py")
    named = dataclasses.replace(
        launch, settings=dataclasses.replace(launch.settings, script=shipped), script_sha256=script_hash(shipped)
    )
    assert distrust(tmp_path / "run", named, named, script_given=False) is None


def test_the_error_for_a_missing_dataset_names_the_option(launch: Launch, tmp_path: Path) -> None:
    check_dataset(launch)
    with pytest.raises(CannotResume, match=rf"there is no file {tmp_path / 'gone.csv'}.*--dataset"):
        check_dataset(merge(launch, {"dataset": f"csv:{tmp_path / 'gone.csv'},shape=4"}))


def test_a_finished_run_is_complete_unless_further_steps_are_wanted(launch: Launch, tmp_path: Path) -> None:
    saved = launch.settings
    assert not is_complete(tmp_path, saved, saved)
    (tmp_path / "run.json").write_text(json.dumps({"state": "finished"}))
    assert not is_complete(tmp_path, saved, saved), "the worker died before it wrote the results"
    (tmp_path / "result.json").write_text("{}")
    assert is_complete(tmp_path, saved, saved)
    assert is_complete(tmp_path, saved, dataclasses.replace(saved, take_changes=True))
    assert not is_complete(tmp_path, saved, dataclasses.replace(saved, epochs=8))
    (tmp_path / "run.json").write_text(json.dumps({"state": "finished", "stopped": "good enough"}))
    assert is_complete(tmp_path, saved, saved)
    assert not is_complete(tmp_path, saved, dataclasses.replace(saved, take_changes=True))
    (tmp_path / "run.json").write_text(json.dumps({"state": "stopped"}))
    assert not is_complete(tmp_path, saved, saved)
