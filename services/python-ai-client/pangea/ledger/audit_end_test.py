"""A run may end before its last step, or continue after it, if its ledger has the reason."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from pangea.ledger.audit import Report, audit_ledger
from pangea.ledger.fixtures import TIME, digest, opening, parameters, step, written

Records = list[dict[str, Any]]
STEPS = [5, 6, 7, 8]  # records of the steps 0 to 3
STOP, FINISHED = 9, 10


def stop(steps: int) -> dict[str, Any]:
    return {
        "type": "stop",
        "steps": steps,
        "reason": "the loss no longer falls",
        "worker": 1,
        "name": "worker-1",
        "time": TIME,
    }


def change(what: str, old: str, new: str, number: int) -> dict[str, Any]:
    return {"type": "change", "what": what, "from": old, "to": new, "step": number, "time": TIME}


def finished(steps: int) -> dict[str, Any]:
    return {"type": "finished", "steps": steps, "params_hash": parameters(steps)}


def stopped() -> Records:
    """A run that its script has stopped after 4 of 6 steps."""
    return [*opening(), *(step(number) for number in range(4)), stop(4), finished(4)]


def continued() -> Records:
    """The same run, which is continued later."""
    return [
        *stopped(),
        {"type": "start", "time": TIME, "step": 4},
        change("stop", "the loss no longer falls", "", 4),
        *(step(number) for number in (4, 5)),
        finished(6),
    ]


def longer() -> Records:
    """A finished run that gets a third epoch."""
    first = [
        *opening(),
        *(step(number) for number in range(6)),
        finished(6),
        change("training", '{"lr":0.1}', '{"lr":0.01}', 6),
    ]
    return [*first, change("epochs", "2", "3", 6), *(step(number) for number in range(6, 9)), finished(9)]


def report(records: Records) -> Report:
    return audit_ledger(io.BytesIO(written(records)))


def longer_from_the_start() -> Records:
    """A run that gets a third epoch before the first worker joins."""
    first = opening()
    first[2]["total_steps"] = 9
    return [*first[:2], change("epochs", "2", "3", 0), *first[2:], *(step(number) for number in range(9)), finished(9)]


@pytest.mark.parametrize(
    "records", [stopped(), continued(), longer(), longer_from_the_start(), [*opening(), stop(0), finished(0)]]
)
def test_a_run_that_ends_where_its_ledger_says_holds(records: Records) -> None:
    # Each prefix is a run that has not ended.
    for count in range(1, len(records) + 1):
        found = report(records[:count])
        assert found.holds, [row.detail for finding in found.findings for row in finding.rows]
    assert found.audit.finished is not None and found.audit.finished.steps == found.audit.end.steps


def test_a_stop_may_be_written_before_the_step_that_asked_for_it() -> None:
    records = stopped()
    records[8:10] = [records[9], records[8]]
    assert report(records).holds


def test_stops_and_changes_are_reported() -> None:
    found = report(continued())
    assert found.audit.end.stop is None and [one.what for one in found.audit.end.changes] == ["stop"]
    found = report(longer())
    assert (found.audit.end.total_steps, found.audit.end.epochs, found.audit.samples) == (9, 3, 75)
    assert [(one.what, one.old, one.new) for one in found.audit.end.changes] == [
        ("training", '{"lr":0.1}', '{"lr":0.01}'),
        ("epochs", "2", "3"),
    ]
    assert [found.audit.parameters_after(steps) for steps in (6, 9)] == [parameters(6), parameters(9)]
    assert (report(stopped()).audit.end.steps, report(stopped()).audit.end.total_steps) == (4, 6)


REFUTED: dict[str, tuple[Callable[[], Records], str, str]] = {
    "an end without a stop": (
        lambda: [*stopped()[:STOP], finished(4)],
        "end",
        "finished after 4 steps; the ledger has 4 of 6",
    ),
    "a stop in the past": (
        lambda: [*stopped()[:STOP], stop(3)],
        "end",
        "stopped after 3 steps, but the ledger has 4 of 6",
    ),
    "a stop in the future": (
        lambda: [*stopped()[:STOP], stop(6)],
        "end",
        "stopped after 6 steps, but the ledger has 4 of 6",
    ),
    "a stop somewhere else": (
        lambda: [*stopped()[:FINISHED], stop(5)],
        "end",
        "stopped after 5 steps, but it already ended after 4",
    ),
    "a step after the stop": (
        lambda: [*stopped()[:FINISHED], step(4)],
        "end",
        "step 4 is recorded, but the run was stopped after 4 steps",
    ),
    "an end elsewhere": (
        lambda: [*stopped()[:FINISHED], finished(6)],
        "end",
        "finished after 6 steps; the ledger has 4 of 4",
    ),
    "a stop that is revoked twice": (
        lambda: [*continued()[:13], change("stop", "", "", 4)],
        "end",
        "a stop is revoked, but there is none",
    ),
    "fewer epochs": (
        lambda: [*longer()[:13], change("epochs", "2", "1", 6)],
        "end",
        "the epochs change from '2' to '1', but the run has 2",
    ),
    "epochs that it did not have": (
        lambda: [*longer()[:13], change("epochs", "3", "4", 6)],
        "end",
        "from '3' to '4', but the run has 2",
    ),
    "epochs that are not a number": (lambda: [*longer()[:13], change("epochs", "2", "many", 6)], "end", "to 'many'"),
    "a change of other steps": (
        lambda: [*longer()[:13], change("training", "", "{}", 5)],
        "end",
        "for the steps from 5 on, but the ledger has 6",
    ),
    "a wrong change before the model": (
        lambda: [*opening()[:2], change("epochs", "3", "4", 0)],
        "end",
        "from '3' to '4', but the run has 2",
    ),
    "a step after the last epoch": (lambda: [*longer(), step(9)], "end", "step 9 is recorded after the end"),
    "a step of no epoch": (
        lambda: [*longer()[:-1], step(9)],
        "steps",
        "step 9 is of epoch 3, but the run has 3 epochs",
    ),
    "different parameters than at the end": (
        lambda: [*longer()[:14], {**step(6), "params_hash": digest("x")}],
        "parameters",
        "step 6 began with parameters .*, but the run had",
    ),
}


@pytest.mark.parametrize("name", REFUTED)
def test_inconsistent_records_are_refuted(name: str) -> None:
    records, promise, detail = REFUTED[name]
    rows = report(records()).audit.findings[promise].rows
    assert any(re.search(detail, row.detail) and row.record == len(records()) - 1 for row in rows), rows
