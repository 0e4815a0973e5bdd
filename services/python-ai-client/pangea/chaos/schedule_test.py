"""Faults are a function of the seed."""

from collections import Counter

import pytest

from pangea.chaos.schedule import WEIGHTS, schedule


def test_equal_seeds_give_equal_faults_and_different_seeds_different_ones() -> None:
    assert schedule(7, 2.0, 100.0) == schedule(7, 2.0, 100.0)
    assert schedule(7, 2.0, 100.0) != schedule(8, 2.0, 100.0)


def test_faults_are_ascending_within_the_duration_and_as_frequent_as_requested() -> None:
    faults = schedule(1, 0.5, 10_000.0)
    times = [fault.at for fault in faults]
    assert times == sorted(times)
    assert times[0] > 0 and times[-1] < 10_000.0
    assert len(faults) == pytest.approx(20_000, rel=0.03)


def test_kinds_are_as_frequent_as_their_weights() -> None:
    faults = schedule(1, 0.5, 10_000.0)
    counts = Counter(fault.kind for fault in faults)
    for kind, weight in WEIGHTS.items():
        assert counts[kind] / len(faults) == pytest.approx(weight / sum(WEIGHTS.values()), rel=0.1)
