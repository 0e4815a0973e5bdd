"""The incidents in a ledger: what each kind means for the promise of the same bits, and whether what followed has put it right."""

from __future__ import annotations

from dataclasses import dataclass, field

from pangea.ledger.audit_finding import MAX_ROWS
from pangea.ledger.reader import Entry, Incident

MEANINGS = {
    "conflict": "two workers computed different bits for the same shards; resolved where one of them was proven wrong before the step was closed",
    "divergence": "a worker's parameters were not those of the run; resolved where the others agreed: it was given theirs",
    "quarantine": "a worker was proven wrong and kept out of the run, and its results of the open step were thrown away; resolved by that",
    "replay": "a step that was computed again had different bits than the first time; never resolved, since nobody can tell which were right",
    "script": "a worker found that its script breaks the promise; never resolved",
}
_OTHER = "not known to this release; taken as never resolved"


@dataclass
class IncidentRow:
    """One incident, and its place in the ledger."""

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
    """All incidents of one kind. The first rows are kept."""

    kind: str
    meaning: str
    count: int = 0
    resolved: int = 0
    rows: list[IncidentRow] = field(default_factory=list)


class Incidents:
    """Looks at one incident after the other.

    What counts is what the records say. A conflict names both workers; a later quarantine or divergence of one of them, before the next step is
    closed, says who was wrong. A divergence that names a worker was decided by the majority. One that names nobody is a tie: a later one that
    names a worker has decided it.

    Attributes:
        kinds: in the order in which they first occurred.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, IncidentKind] = {}
        self._open: list[tuple[Incident, IncidentRow]] = []  # what a later incident may resolve

    @property
    def count(self) -> int:
        """Of all incidents."""
        return sum(kind.count for kind in self.kinds.values())

    @property
    def unresolved(self) -> int:
        """Of those after which the promise of the same bits is not known to have held."""
        return sum(kind.count - kind.resolved for kind in self.kinds.values())

    def observe(self, entry: Entry, incident: Incident, format_: int) -> None:
        """Takes the next one. In format 1 a conflict does not name the second worker: any quarantine in the same step resolves it."""
        named = incident.worker != 0
        if named and incident.kind in ("quarantine", "divergence"):
            self._resolve(incident, format_)
        resolved = incident.kind == "quarantine" or (incident.kind == "divergence" and named)
        row = IncidentRow(entry.number, entry.line, incident.kind, incident.step, incident.first, incident.count, incident.worker, incident.name, incident.detail, resolved)
        kind = self.kinds.setdefault(incident.kind, IncidentKind(incident.kind, MEANINGS.get(incident.kind, _OTHER)))
        kind.count += 1
        kind.resolved += resolved
        if len(kind.rows) < MAX_ROWS:
            kind.rows.append(row)
        disputed = incident.kind == "conflict" and (incident.other != 0 or (format_ < 2 and named))
        if disputed or (incident.kind == "divergence" and not named):
            self._open.append((incident, row))

    def close_step(self) -> None:
        """Says that the next step is closed, or the run is finished: what is not resolved by now will not be."""
        self._open.clear()

    def _resolve(self, by: Incident, format_: int) -> None:
        left = []
        for incident, row in self._open:
            if _resolves(by, incident, format_):
                row.resolved = True
                self.kinds[incident.kind].resolved += 1
            else:
                left.append((incident, row))
        self._open = left


def _resolves(by: Incident, incident: Incident, format_: int) -> bool:
    if incident.kind == "divergence":
        return by.kind == "divergence"
    if incident.other == 0 and format_ < 2:
        return by.kind == "quarantine" and by.step == incident.step
    return by.step == incident.step and by.worker in (incident.worker, incident.other)
