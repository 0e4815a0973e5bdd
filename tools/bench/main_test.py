import json
from collections.abc import Callable
from pathlib import Path

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


def written(folder: Path) -> list[dict[str, object]]:
    [file] = (folder / "bench-results").iterdir()
    return list(json.loads(file.read_text())["results"])


def test_everything_is_measured_five_times_by_default(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, [])
    assert ended.exit_code == 0, ended.output
    assert asked == [(name, False) for name in SUITES]
    assert [len(contender["values"]) for result in written(tmp_path) for contender in result["contenders"]] == [5] * 2 * len(SUITES)  # type: ignore[attr-defined]


def test_chosen_suites_quick_and_repeat(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, ["--suite", "ledger", "--suite", "data", "--quick", "--repeat", "2"])
    assert ended.exit_code == 0, ended.output
    assert asked == [("ledger", True), ("data", True)]
    assert [result["suite"] for result in written(tmp_path)] == ["ledger", "data"]
    assert "slower: ours is" in ended.stdout


def test_quick_alone_is_one_round(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    CliRunner().invoke(program.main, ["--suite", "data", "--quick"])
    assert written(tmp_path)[0]["contenders"][0]["values"] == [1]  # type: ignore[index]


def test_a_named_file_lies_where_the_caller_stands(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(program.main, ["--suite", "data", "--json", "named.json", "--quick"])
    assert ended.exit_code == 0, ended.output
    assert list((tmp_path / "bench-results").iterdir()) == []
    report = json.loads((tmp_path / "named.json").read_text())
    assert [result["suite"] for result in report["results"]] == ["data"]
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["load"] >= 0


def test_contenders_that_differ_end_it_without_a_file(asked: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SUITES", {"data": lambda _quick: [Tally({"ours": samples(1.0), "theirs": samples(1.0, work=3)})]})
    ended = CliRunner().invoke(program.main, ["--quick"])
    assert ended.exit_code == 1
    assert "units of work" in ended.output
    assert list((tmp_path / "bench-results").iterdir()) == []


@pytest.mark.parametrize("arguments", [["--suite", "nothing"], ["--repeat", "0"], ["train"]])
def test_what_makes_no_sense_is_refused(asked: list[tuple[str, bool]], arguments: list[str]) -> None:
    ended = CliRunner().invoke(program.main, arguments)
    assert ended.exit_code == 2
    assert asked == []
