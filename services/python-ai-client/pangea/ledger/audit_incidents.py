"""The incidents in a ledger: what each kind means for the promise of the same bits, and which are resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from pangea.ledger.audit_finding import MAX_ROWS
from pangea.ledger.reader import Entry
from pangea.ledger.records import Incident

MEANINGS = {
    "conflict": (
        "two workers computed different bits for the same shards; resolved if one of them was proven wrong before the"
        " step was closed"
    ),
    "divergence": (
        "a worker's parameters differed from those of the run; resolved if a majority agreed, whose parameters it was"
        " given"
    ),
    "quarantine": (
        "a worker was proven wrong and excluded, and its results for the open step were discarded; resolved by that"
    ),
    "replay": "a recomputed step had different bits than the first time; never resolved, since either may be right",
    "script": "a worker found that its script breaks the promise; never resolved",
}
_UNKNOWN = "unknown to this release; considered unresolved"


@dataclass
class IncidentRow:
    """An incident, and its place in the ledger."""

    record: int
    line: int
    kind: str
    step: int
    first: int
    count: int
    worker: int
    name: str
    detail: str
    resolved: bool


@dataclass
class IncidentKind:
    """All incidents of one kind: their number, and the first rows."""

    kind: str
    meaning: str
    count: int = 0
    resolved: int = 0
    rows: list[IncidentRow] = field(default_factory=list)


class Incidents:
    """Decides from the records which incidents are resolved.

    A conflict names both workers; it is resolved by a quarantine or divergence of one of them before the next step is
    closed, which shows who was wrong. A divergence that names a worker was decided by the majority, and is resolved.
    One that names no worker is a tie; it is resolved by a later one that names a worker.

    Attributes:
        kinds: by name, in the order in which they first occurred.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, IncidentKind] = {}
        # Those that a later incident may resolve.
        self._open: list[tuple[Incident, IncidentRow]] = []

    @property
    def count(self) -> int:
        """The number of all incidents."""
        return sum(kind.count for kind in self.kinds.values())

    @property
    def unresolved(self) -> int:
        """The number of incidents after which the same bits are not guaranteed."""
        return sum(kind.count - kind.resolved for kind in self.kinds.values())

    def observe(self, entry: Entry, incident: Incident, format_: int) -> None:
        """Adds the next incident.

        In format 1 a conflict does not name the second worker, and is resolved by any quarantine in the same step.
        """
        named = incident.worker != 0
        if named and incident.kind in ("quarantine", "divergence"):
            self._resolve(incident, format_)
        resolved = incident.kind == "quarantine" or (incident.kind == "divergence" and named)
        row = IncidentRow(
            entry.number,
            entry.line,
            incident.kind,
            incident.step,
            incident.first,
            incident.count,
            incident.worker,
            incident.name,
            incident.detail,
            resolved,
        )
        kind = self.kinds.setdefault(incident.kind, IncidentKind(incident.kind, MEANINGS.get(incident.kind, _UNKNOWN)))
        kind.count += 1
        kind.resolved += resolved
        if len(kind.rows) < MAX_ROWS:
            kind.rows.append(row)
        disputed = incident.kind == "conflict" and (incident.other != 0 or (format_ < 2 and named))
        if disputed or (incident.kind == "divergence" and not named):
            self._open.append((incident, row))

    def close_step(self) -> None:
        """Marks the end of a step or of the run, after which earlier incidents can no longer be resolved."""
        self._open.clear()

    def _resolve(self, by: Incident, format_: int) -> None:
        still_open = []
        for incident, row in self._open:
            if _resolves(by, incident, format_):
                row.resolved = True
                self.kinds[incident.kind].resolved += 1
            else:
                still_open.append((incident, row))
        self._open = still_open


def _resolves(by: Incident, incident: Incident, format_: int) -> bool:
    if incident.kind == "divergence":
        return by.kind == "divergence"
    if incident.other == 0 and format_ < 2:
        return by.kind == "quarantine" and by.step == incident.step
    return by.step == incident.step and by.worker in (incident.worker, incident.other)
