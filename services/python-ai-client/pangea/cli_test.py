"""The command's words and its refusals."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pangea.cli import main
from pangea.launcher import MetricsFile


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--shards", "6"], "6 is not a power of two"),
        (["train", "--workers", "0"], "0 is not in the range"),
        (["train", "--epochs", "none"], "not a valid integer"),
        (["train", "no-such-script.py"], "there is no file"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_words_are_refused_with_exit_code_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_missing_services_are_a_sentence_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["train"])
    assert result.exit_code == 1
    assert "rust-compute is missing" in result.output


def test_doctor_reports_each_finding_as_json_and_fails_for_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 1
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["same bits twice"]["ok"]
    assert findings["native module"]["ok"]
    assert not findings["go-orchestrator"]["ok"]


def test_metrics_are_read_by_whole_lines_as_they_grow(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(file)
    assert metrics.read_new() == []
    file.write_text('{"step": 0}\n{"st')
    assert metrics.read_new() == [{"step": 0}]
    with file.open("a") as stream:
        stream.write('ep": 1}\n')
    assert metrics.read_new() == [{"step": 1}]
    assert metrics.lines == [{"step": 0}, {"step": 1}]
