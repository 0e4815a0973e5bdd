import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tools.bench import main as program
from tools.bench.suites.registry import SUITES
from tools.bench.tallies import Tally, samples


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Suites that only count, and a list of which of them were made, quick or not."""
    made: list[tuple[str, bool]] = []

    def suite(name: str) -> Callable[[bool], list[Tally]]:
        def make(quick: bool) -> list[Tally]:
            made.append((name, quick))
            return [Tally({"ours": samples(*range(1, 9)), "theirs": samples(*range(2, 10))})]

        return make

    monkeypatch.setattr(program, "SUITES", {name: suite(name) for name in SUITES})
    monkeypatch.delenv("BUILD_WORKSPACE_DIRECTORY", raising=False)
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    return made


def written(folder: Path) -> list[dict[str, Any]]:
    [file] = folder.glob("*.json")
    assert file.with_suffix(".md").exists()
    return list(json.loads(file.read_text())["results"])


def test_everything_is_measured_five_times_by_default(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, [])
    assert ended.exit_code == 0, ended.output
    assert asked == [(name, False) for name in SUITES]
    assert [
        len(contender["values"]) for result in written(tmp_path / "bench-results") for contender in result["contenders"]
    ] == [5] * 2 * len(SUITES)


def test_chosen_suites_quick_and_rounds(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, ["ledger", "data", "--quick", "--rounds", "2"])
    assert ended.exit_code == 0, ended.output
    assert asked == [("ledger", True), ("data", True)]
    assert [
        (result["suite"], len(result["contenders"][0]["values"])) for result in written(tmp_path / "bench-results")
    ] == [("ledger", 2), ("data", 2)]
    assert "| slower" in ended.stdout
    assert "round 2 of 2: theirs" in ended.stderr


def test_quick_alone_is_one_round(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    CliRunner().invoke(program.main, ["data", "--quick"])
    assert written(tmp_path / "bench-results")[0]["contenders"][0]["values"] == [1]


def test_a_named_folder_lies_where_the_caller_stands(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, ["data", "--output", "named/folder", "--quick"])
    assert ended.exit_code == 0, ended.output
    assert not (tmp_path / "bench-results").exists()
    assert [result["suite"] for result in written(tmp_path / "named" / "folder")] == ["data"]


def test_a_report_tells_where_it_was_measured(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    CliRunner().invoke(program.main, ["data", "--quick"])
    [file] = (tmp_path / "bench-results").glob("*.json")
    report = json.loads(file.read_text())
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["load"] >= 0
    assert all(load >= 0 for load in report["results"][0]["loads"])


def test_contenders_that_differ_end_it_without_a_file(
    asked: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        program, "SUITES", {"data": lambda _quick: [Tally({"ours": samples(1.0), "theirs": samples(1.0, work=3)})]}
    )
    ended = CliRunner().invoke(program.main, ["--quick"])
    assert ended.exit_code == 1
    assert "units of work" in ended.output
    assert list((tmp_path / "bench-results").iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["--rounds", "0"], ["train", "--compare", "a", "b"], ["--compare", "a"]]
)
def test_what_makes_no_sense_is_refused(asked: list[tuple[str, bool]], arguments: list[str]) -> None:
    ended = CliRunner().invoke(program.main, arguments)
    assert ended.exit_code == 2
    assert asked == []


def test_two_reports_are_compared_and_nothing_is_measured(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    CliRunner().invoke(program.main, ["data", "ledger", "--quick", "--output", "."])
    [file] = tmp_path.glob("*.json")
    del asked[:]
    ended = CliRunner().invoke(program.main, ["--compare", file.name, file.name])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.count("within the noise") == 2
    assert asked == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file"),
        ("{}", "not a report of this build"),
        ("[", "not a report of this build"),
        ("[1]", "not a report of this build"),
    ],
)
def test_what_is_no_report_is_refused(
    asked: list[tuple[str, bool]], tmp_path: Path, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    ended = CliRunner().invoke(program.main, ["--compare", "report.json", "report.json"])
    assert ended.exit_code == 2
    assert why in ended.output and "report.json" in ended.output
