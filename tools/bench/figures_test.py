import pytest

from tools.bench.figures import Spread, speedups, spread


def test_one_wild_value_moves_neither_median_nor_mad() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 1000.0]) == Spread(median=3.0, mad=1.0, low=1.0, high=1000.0)


def test_an_even_number_of_values_has_its_median_between() -> None:
    assert spread([4.0, 1.0]) == Spread(median=2.5, mad=1.5, low=1.0, high=4.0)


def test_one_value_has_no_spread() -> None:
    assert spread([7.0]) == Spread(7.0, 0.0, 7.0, 7.0)


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="measure at least once"):
        spread([])


def test_a_speedup_above_one_is_a_win_in_either_direction() -> None:
    # Steps a second: more is better. Milliseconds: less is.
    assert speedups([30.0, 10.0], [10.0, 20.0], more_is_better=True) == [3.0, 0.5]
    assert speedups([30.0, 10.0], [10.0, 20.0], more_is_better=False) == [1 / 3, 2.0]


def test_what_slows_a_whole_round_cancels() -> None:
    assert speedups([30.0, 3.0], [10.0, 1.0], more_is_better=True) == [3.0, 3.0]


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        speedups([1.0, 2.0], [1.0], more_is_better=True)
