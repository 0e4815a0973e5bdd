from pathlib import Path

import pytest

from tools.bench.benchmark import Goal, Sample
from tools.bench.markdown import number, ratios, render, table, verdict
from tools.bench.report import as_json
from tools.bench.rounds import measure
from tools.bench.tallies import MACHINE, Tally, samples


@pytest.mark.parametrize(
    ("low", "high", "word"), [(1.01, 2.0, "faster"), (0.4, 0.99, "slower"), (0.99, 2.0, "even"), (0.4, 1.01, "even")]
)
def test_only_rounds_that_agree_make_a_winner(low: float, high: float, word: str) -> None:
    assert verdict(low, high) == word


@pytest.mark.parametrize(
    ("value", "text"), [(0.012345, "0.0123"), (1.5, "1.5"), (99.44, "99.4"), (123456.7, "123,457"), (0.0, "0")]
)
def test_numbers_have_three_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(["a", "bc"], [["long", "x"]]) == "| a    | bc |\n| ---- | -- |\n| long | x  |"


def test_a_loss_is_told_like_a_win(tmp_path: Path) -> None:
    result = measure(
        "train", Tally({"ours": samples(10.0, 12.0), "theirs": samples(20.0, 30.0)}), 2, tmp_path, lambda _turn: None
    )
    lines = render(as_json(MACHINE, [result])).splitlines()
    assert "| train | tally     | ours | theirs | 0.45  | 0.4 to 0.5 | slower  |         |      |         |" in lines
    assert "| theirs    | 25     | 5   | 20 to 30 |         | ms 41.7             |          |" in lines
    assert "## train: tally (steps/s, more is better)" in lines
    assert (
        "Some processor (AVX2), 2 cores, 8 GiB of memory, load average 0.50 at the start; torch 2.6.0; commit "
        "0123456789ab." in lines
    )
    assert any(line.startswith("Nothing. Rounds: 2; load average ") for line in lines)


def test_the_report_has_every_value(tmp_path: Path) -> None:
    result = measure(
        "train", Tally({"ours": samples(10.0, 12.0), "theirs": samples(20.0, 30.0)}), 2, tmp_path, lambda _turn: None
    )
    report = as_json(MACHINE, [result])
    [told] = report["results"]
    assert report["machine"] == MACHINE
    assert [contender["values"] for contender in told["contenders"]] == [[10.0, 12.0], [20.0, 30.0]]
    assert told["contenders"][1] == {
        "name": "theirs",
        "values": [20.0, 30.0],
        "median": 25.0,
        "mad": 5.0,
        "low": 20.0,
        "high": 30.0,
        "work": 10,
        "outcomes": [1.0, 1.0],
        "details": {"ms": pytest.approx(125 / 3)},
        "cores": {},
        "settings": {},
    }
    assert told["speedups"] == [
        {
            "ours": "ours",
            "peer": "theirs",
            "median": 0.45,
            "mad": pytest.approx(0.05),
            "low": 0.4,
            "high": 0.5,
            "difference": {"median": -14.0, "mad": 4.0, "low": -18.0, "high": -10.0},
            "cores": [0, 0],
        }
    ]


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        (Goal(1.5), "| >= 1.5 | yes"),
        (Goal(2.5), "| >= 2.5 | no "),
        (Goal(-4.0, "difference"), "| <= -4 ms more | yes, -5 ms"),
        (Goal(-6.0, "difference"), "| <= -6 ms more | no, -5 ms "),
    ],
)
def test_a_goal_is_told_with_whether_it_was_reached(tmp_path: Path, goal: Goal, told: str) -> None:
    given = {"ours": samples(5.0), "theirs": samples(10.0)}
    tally = Tally(given, more_is_better=False, unit="ms", goal=goal)
    report = as_json(MACHINE, [measure("train", tally, 1, tmp_path, lambda _turn: None)])
    assert told in ratios(report["results"]).splitlines()[2]


def test_processor_time_of_all_processes_stands_beside_the_ratio(tmp_path: Path) -> None:
    ours = Sample(5.0, 1, 1.0, cores={"workers": 7.0, "orchestrator": 0.5}, settings={"transport": "TCP"})
    tally = Tally({"ours": [ours], "theirs": [Sample(4.0, 1, 1.0, cores={"workers": 4.0})]})
    report = as_json(MACHINE, [measure("train", tally, 1, tmp_path, lambda _turn: None)])
    assert "| 7.5 / 4 |" in ratios(report["results"])
    assert "| workers 7, orchestrator 0.5 |" in render(report)
    assert "| transport: TCP |" in render(report)
