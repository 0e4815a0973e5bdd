import math
from pathlib import Path

import pytest

from tools.bench.benchmark import Pair, Sample
from tools.bench.figures import Spread
from tools.bench.rounds import DifferentWork, measure
from tools.bench.tallies import Tally, samples


def nothing(_turn: str) -> None:
    pass


def test_contenders_take_turns_in_every_round(tmp_path: Path) -> None:
    tally = Tally({"a": samples(1.0, 2.0), "b": samples(1.0, 2.0), "c": samples(1.0, 2.0)})
    turns: list[str] = []
    measure("some", tally, 2, tmp_path, turns.append)
    assert tally.asked == ["a", "b", "c", "a", "b", "c"]
    assert turns[4] == "some, tally, round 2 of 2: b"
    assert list(tmp_path.iterdir()) == [], "files of a turn stay"


def test_ratios_are_taken_round_by_round(tmp_path: Path) -> None:
    # The machine was half as fast in the second round; the ratio is not touched by it.
    result = measure(
        "some", Tally({"a": samples(20.0, 10.0, 22.0), "b": samples(10.0, 5.0, 10.0)}), 3, tmp_path, nothing
    )
    assert result.values("b") == [10.0, 5.0, 10.0]
    assert result.speedup(Pair("a", "b")) == Spread(median=2.0, mad=0.0, low=2.0, high=2.2)
    assert result.details("a") == {"ms": 50.0}


def test_less_is_better_turns_the_ratio_round(tmp_path: Path) -> None:
    result = measure(
        "some", Tally({"a": samples(20.0), "b": samples(10.0)}, more_is_better=False), 1, tmp_path, nothing
    )
    assert result.speedup(Pair("a", "b")).median == 0.5


def test_another_amount_of_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DifferentWork, match="a did 10 units of work and b 11"):
        measure("some", Tally({"a": samples(1.0), "b": samples(1.0, work=11)}), 1, tmp_path, nothing)


def test_a_contender_that_runs_with_other_settings_later_is_refused(tmp_path: Path) -> None:
    rounds = [Sample(1.0, 1, 1.0, settings={"transport": transport}) for transport in ("shared memory", "TCP")]
    with pytest.raises(DifferentWork, match="a ran with .*shared memory.* in the first round and with .*TCP.* later"):
        measure("some", Tally({"a": rounds}), 2, tmp_path, nothing)


@pytest.mark.parametrize("outcome", [1.02, 0.98, -1.0, math.nan])
def test_another_outcome_is_refused(tmp_path: Path, outcome: float) -> None:
    with pytest.raises(DifferentWork, match="differ by more than 1.000%"):
        measure("some", Tally({"a": samples(1.0), "b": samples(1.0, outcome=outcome)}), 1, tmp_path, nothing)


def test_an_outcome_within_the_tolerance_is_taken(tmp_path: Path) -> None:
    measure("some", Tally({"a": samples(1.0), "b": samples(1.0, outcome=1.009)}), 1, tmp_path, nothing)


def test_a_difference_is_taken_round_by_round(tmp_path: Path) -> None:
    result = measure("some", Tally({"a": samples(5.0, 9.0), "b": samples(4.0, 6.0)}), 2, tmp_path, nothing)
    assert result.difference(Pair("a", "b")) == Spread(median=2.0, mad=1.0, low=1.0, high=3.0)
