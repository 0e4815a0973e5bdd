"""Which incidents are resolved is decided from the records alone."""

import io
from typing import Any

import pytest

from pangea.ledger.audit import audit_ledger
from pangea.ledger.audit_incidents import MEANINGS, Incidents
from pangea.ledger.fixtures import incident, opening, step, without_weights, written

Records = list[dict[str, Any]]
CONFLICT = incident("conflict", 1, worker=2, other=1, shards=(3, 1))
TIE = incident("divergence", 1)


def incidents(*records: dict[str, Any], old: bool = False) -> Incidents:
    """The incidents of a run that has these records while step 1 is open."""
    whole = [*opening(), step(0), *records]
    report = audit_ledger(io.BytesIO(written([without_weights(record) for record in whole] if old else whole)))
    assert report.holds, report.findings
    return report.audit.incidents


@pytest.mark.parametrize(
    ("records", "unresolved"),
    [
        ([CONFLICT], 1),
        ([CONFLICT, incident("quarantine", 1, worker=2)], 0),
        ([CONFLICT, incident("quarantine", 1, worker=1)], 0),
        ([CONFLICT, incident("divergence", 1, worker=2)], 0),
        # A third worker may be wrong as well, which does not decide between these two.
        ([CONFLICT, incident("quarantine", 1, worker=3)], 1),
        # Once the step is closed, its sum is final.
        ([CONFLICT, step(1), incident("quarantine", 2, worker=2)], 1),
        # Three different results, or no worker left to compute a third one: no second worker is named, and nothing
        # resolves it.
        ([CONFLICT, incident("conflict", 1, worker=3, shards=(3, 1))], 2),
        ([incident("conflict", 1, worker=3, shards=(3, 1)), incident("quarantine", 1, worker=3)], 1),
        ([incident("divergence", 1, worker=2)], 0),
        ([TIE], 1),
        ([TIE, incident("divergence", 1, worker=2)], 0),
        ([TIE, step(1), incident("divergence", 2, worker=2)], 1),
        # The second divergence of the same worker: it is quarantined.
        ([incident("divergence", 1, worker=2), incident("quarantine", 1, worker=2)], 0),
        ([incident("replay", 0)], 1),
        ([incident("script", 1, worker=1)], 1),
        ([incident("surprise", 1, worker=1)], 1),
    ],
)
def test_which_incidents_are_resolved(records: Records, unresolved: int) -> None:
    found = incidents(*records)
    assert (found.unresolved, found.count) == (unresolved, sum(record["type"] == "incident" for record in records))


def test_a_conflict_of_format_1_is_resolved_by_a_quarantine_in_its_step() -> None:
    conflict = incident("conflict", 1, worker=2, shards=(3, 1))
    assert incidents(conflict, incident("quarantine", 1, worker=1), old=True).unresolved == 0
    assert incidents(conflict, old=True).unresolved == 1
    assert (
        incidents(incident("conflict", 1, shards=(3, 1)), incident("quarantine", 1, worker=1), old=True).unresolved == 1
    )


def test_every_kind_has_a_meaning_and_its_first_rows() -> None:
    found = incidents(*(incident(kind, 1, worker=1) for kind in MEANINGS for _ in range(150)))
    assert {kind.kind: (kind.meaning, kind.count, len(kind.rows)) for kind in found.kinds.values()} == {
        kind: (meaning, 150, 100) for kind, meaning in MEANINGS.items()
    }
    assert [row.record for row in found.kinds["conflict"].rows] == list(range(6, 106))
