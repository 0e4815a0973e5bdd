"""A recovery lasts from a fault to a step that was certainly committed after it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pangea.chaos.recovery import Recoveries, percentile, spread
from pangea.chaos.schedule import FaultKind


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
