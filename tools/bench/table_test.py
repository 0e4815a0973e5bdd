from pathlib import Path

import pytest
from rich.console import Console

from tools.bench.benchmark import Pair
from tools.bench.compare import measure
from tools.bench.figures import Spread
from tools.bench.report import as_json
from tools.bench.table import number, sentence, show
from tools.bench.tallies import Tally, samples

MACHINE = {"processor": "Some processor", "cores": 2, "load": 0.5, "versions": {"torch": "2.6.0"}, "commit": "0123456789ab"}


@pytest.mark.parametrize(
    ("speedup", "word"),
    [(Spread(1.5, 0.1, 1.01, 2.0), "faster"), (Spread(0.5, 0.1, 0.4, 0.99), "slower"), (Spread(1.5, 0.1, 0.99, 2.0), "even"), (Spread(0.5, 0.1, 0.4, 1.01), "even")],
)
def test_only_rounds_that_agree_make_a_winner(speedup: Spread, word: str) -> None:
    assert sentence(Pair("ours", "theirs"), speedup).startswith(word + ": ours is ")


@pytest.mark.parametrize(("value", "text"), [(0.012345, "0.0123"), (1.5, "1.5"), (99.44, "99.4"), (123456.7, "123,457"), (0.0, "0")])
def test_numbers_have_three_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_a_loss_is_printed_like_a_win(tmp_path: Path) -> None:
    result = measure("train", Tally({"ours": samples(10.0, 12.0), "theirs": samples(20.0, 30.0)}), 2, tmp_path, lambda _turn: None)
    console = Console(record=True, width=160)
    show(console, MACHINE, [result])
    text = console.export_text()
    assert "slower: ours is 0.45 (0.40 to 0.50) times as fast as theirs" in text
    for part in ("Some processor, 2 cores, load average 0.50", "torch 2.6.0", "0123456789ab", "train: tally (steps/s, more is better)", "10 to 12", "20 to 30", "Nothing."):
        assert part in text


def test_the_report_has_every_value(tmp_path: Path) -> None:
    result = measure("train", Tally({"ours": samples(10.0, 12.0), "theirs": samples(20.0, 30.0)}), 2, tmp_path, lambda _turn: None)
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
    }
    assert told["speedups"] == [{"ours": "ours", "peer": "theirs", "median": 0.45, "mad": pytest.approx(0.05), "low": 0.4, "high": 0.5}]
