"""Which incidents were put right is decided from the records alone."""

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
    """Those of a run in which these records come while step 1 is open."""
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
        # A third worker may be wrong as well, and says nothing of these two.
        ([CONFLICT, incident("quarantine", 1, worker=3)], 1),
        # Once the step is closed, its sum is what it is.
        ([CONFLICT, step(1), incident("quarantine", 2, worker=2)], 1),
        # Three results, or nobody left to compute a third: no second worker is named, and nothing settles it.
        ([CONFLICT, incident("conflict", 1, worker=3, shards=(3, 1))], 2),
        ([incident("conflict", 1, worker=3, shards=(3, 1)), incident("quarantine", 1, worker=3)], 1),
        ([incident("divergence", 1, worker=2)], 0),
        ([TIE], 1),
        ([TIE, incident("divergence", 1, worker=2)], 0),
        ([TIE, step(1), incident("divergence", 2, worker=2)], 1),
        # It was the second time, and the worker is out.
        ([incident("divergence", 1, worker=2), incident("quarantine", 1, worker=2)], 0),
        ([incident("replay", 0)], 1),
        ([incident("script", 1, worker=1)], 1),
        ([incident("surprise", 1, worker=1)], 1),
    ],
)
def test_what_resolves_what(records: Records, unresolved: int) -> None:
    found = incidents(*records)
    assert (found.unresolved, found.count) == (unresolved, sum(record["type"] == "incident" for record in records))


def test_a_conflict_of_format_1_is_resolved_by_a_quarantine_in_its_step() -> None:
    conflict = incident("conflict", 1, worker=2, shards=(3, 1))
    assert incidents(conflict, incident("quarantine", 1, worker=1), old=True).unresolved == 0
    assert incidents(conflict, old=True).unresolved == 1
    assert incidents(incident("conflict", 1, shards=(3, 1)), incident("quarantine", 1, worker=1), old=True).unresolved == 1


def test_every_kind_has_a_meaning_and_its_first_rows() -> None:
    found = incidents(*(incident(kind, 1, worker=1) for kind in MEANINGS for _ in range(150)))
    assert {kind.kind: (kind.meaning, kind.count, len(kind.rows)) for kind in found.kinds.values()} == {kind: (meaning, 150, 100) for kind, meaning in MEANINGS.items()}
    assert [row.record for row in found.kinds["conflict"].rows] == list(range(6, 106))
