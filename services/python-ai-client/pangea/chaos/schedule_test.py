"""Faults are a function of the seed; a recovery ends with a step that was certainly committed after the fault."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangea.chaos.recovery import Recoveries, percentile, spread
from pangea.chaos.run import detection_seconds, first_difference
from pangea.chaos.schedule import WEIGHTS, FaultKind, schedule


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


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= math.ceil(share * len(values))
    assert sum(value < found for value in values) < share * len(values)


def test_a_run_has_recovered_with_the_second_visible_step_after_a_fault() -> None:
    recoveries = Recoveries()
    recoveries.add_fault(FaultKind.KILL_WORKER, at=1.0, steps=10)
    recoveries.add_progress(1.1, steps=11)
    assert recoveries.pending, "that step may have been committed before the fault"
    recoveries.add_fault(FaultKind.KILL_ORCHESTRATOR, at=1.2, steps=11)
    recoveries.add_progress(1.5, steps=12)
    recoveries.add_progress(3.2, steps=13)
    assert not recoveries.pending
    assert recoveries.report() == {
        "worker killed": {"faults": 1, "recovery_seconds": spread([0.5])},
        "orchestrator killed": {"faults": 1, "recovery_seconds": spread([2.0])},
    }


def test_a_fault_without_recovery_is_counted() -> None:
    recoveries = Recoveries()
    recoveries.add_fault(FaultKind.KILL_DATA, at=1.0, steps=0)
    assert recoveries.report() == {"data service killed": {"faults": 1, "recovery_seconds": None}}


def test_the_log_has_the_times_at_which_the_orchestrator_detected_each_kill(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        {"time": "1970-01-01T00:00:10.25Z", "msg": "worker is gone", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:20.5Z", "msg": "worker joined", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:31Z", "msg": "worker is gone", "worker": "worker-2"},
        {"time": "1970-01-01T00:00:40.125Z", "msg": "worker is gone", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:55Z", "msg": "worker joined", "worker": "worker-2"},
        {"time": "1970-01-01T00:00:59Z", "msg": "worker is gone", "worker": "worker-2"},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # The second kill of worker-1 and the last one of worker-2 came before the worker had joined again; the last event
    # of worker-2 belongs to its next process.
    kills = [("worker-1", 10.0), ("worker-1", 20.0), ("worker-2", 30.0), ("worker-1", 40.0), ("worker-2", 50.0)]
    assert detection_seconds(log, kills) == [0.25, 1.0, 0.125]


def test_the_first_difference_is_a_step_number() -> None:
    assert first_difference(["a", "b"], ["a", "b", "c"]) is None
    assert first_difference(["a", "b", "c"], ["a", "x", "y"]) == 1
