"""The incidents of a run as its ledger has them, and which of them nobody could settle."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pangea.ledger import reader as ledger
from pangea.ledger.audit_incidents import Incidents

_MARK = b'"type":"incident"'


@dataclass(frozen=True)
class Incident:
    """One record of kind incident; `resolved` as the audit decides it."""

    kind: str
    step: int
    name: str
    detail: str
    resolved: bool

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step}{f' by {self.name}' if self.name else ''}: {self.detail}"


def read_incidents(run_dir: Path) -> list[Incident]:
    """Those in the ledger, in order, the first hundred of each kind; none where there is no ledger. Damage of the ledger is the audit's matter."""
    file = run_dir / ledger.NAME
    if not _has_some(file):
        return []
    incidents, format_ = Incidents(), ledger.FORMAT
    with file.open("rb") as stream, suppress(ledger.LedgerDamaged):
        for entry in ledger.Reader(stream):
            match entry.record:
                case ledger.Settings() as settings:
                    format_ = settings.format
                case ledger.Incident() as incident:
                    incidents.observe(entry, incident, format_)
                case ledger.Step() | ledger.Finished():
                    incidents.close_step()
    rows = sorted((row for kind in incidents.kinds.values() for row in kind.rows), key=lambda row: row.record)
    return [Incident(row.kind, row.step, row.name, row.detail, row.resolved) for row in rows]


def _has_some(file: Path) -> bool:
    """A look at the bytes, since reading the records of a long run takes its time."""
    try:
        with file.open("rb") as stream:
            return any(_MARK in line for line in stream)
    except FileNotFoundError:
        return False
