"""The arguments of the `pangea` command, and its error messages."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import pangea
from pangea.commands.main import main
from pangea.launch.settings import Launch, Settings, script_hash, write_launch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--shards", "6"], "6 is not a power of two"),
        (["train", "--workers", "0"], "0 is not in the range"),
        (["train", "--epochs", "none"], "not a valid integer"),
        (["train", "no-such-script.py"], "there is no file"),
        (["train", "--dataset", "faces"], "there is no such dataset"),
        (["train", "--resume", "run", "--run-dir", "other"], "leave out --run-dir"),
        (["train", "--verify-fraction", "2"], "not in the range"),
        (["train", "--take-changes"], "belongs to --resume"),
        (["chaos", "--mtbf", "0"], "not in the range"),
        (["chaos", "no-such-script.py"], "there is no file"),
        (["fly"], "No such command"),
    ],
)
def test_invalid_arguments_are_refused_with_exit_code_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_the_version_is_the_release_of_the_package() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"pangea {pangea.__version__}\n") and re.fullmatch(
        r"\d+\.\d+\.\d+", pangea.__version__
    )


def test_missing_services_are_an_error_message_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["train"])
    assert result.exit_code == 1
    assert "rust-compute is missing" in result.output


def test_a_run_directory_that_cannot_be_created_is_an_error_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["train", "--run-dir", str(tmp_path / "file" / "run")])
    assert result.exit_code == 1
    assert f"pangea: cannot create the run directory {tmp_path}/file/run: Not a directory; " in result.output


def test_doctor_reports_each_finding_as_json_and_fails_if_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 1
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["same bits twice"]["ok"]
    assert findings["native module"]["ok"]
    assert not findings["go-orchestrator"]["ok"]


def test_resuming_a_folder_without_a_run_is_an_error_message_and_exit_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", "--resume", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no run" in result.output


def test_options_that_contradict_the_run_are_refused_and_defaults_are_not(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("")
    settings = Settings(script.resolve(), ("--lr", "1"), epochs=7, shards=4, run_dir=str(tmp_path))
    write_launch(tmp_path, Launch(settings, "r", script_hash(script)))
    for name, content in (("run.json", '{"state": "finished", "params_hash": "ab"}'), ("result.json", "{}")):
        (tmp_path / name).write_text(content)
    for arguments, message in (
        (["--epochs", "6"], "--epochs 6 is fewer than the 7"),
        (["--shards", "8"], "--shards 8 (the run has 4)"),
        (["--", "--lr", "2"], "the script's arguments are '--lr 2'"),
    ):
        refused = CliRunner().invoke(main, ["train", "--resume", str(tmp_path), *arguments])
        assert refused.exit_code == 1
        assert message in refused.output
    same = CliRunner().invoke(
        main,
        [
            "train",
            str(script),
            "--resume",
            str(tmp_path),
            "--epochs",
            "7",
            "--workers",
            "1",
            "--json",
            "--",
            "--lr",
            "1",
        ],
    )
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["params_hash"] == "ab"
    assert "already finished" in same.stderr
