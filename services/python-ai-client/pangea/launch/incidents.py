"""The incidents in the ledger of a run, and which of them are unresolved."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pangea.foreign import open_regular
from pangea.ledger import reader as ledger
from pangea.ledger.audit_incidents import Incidents

_MARK = b'"type":"incident"'


@dataclass(frozen=True)
class Incident:
    """One incident of the ledger; `resolved` is the verdict of the audit."""

    kind: str
    step: int
    name: str
    detail: str
    resolved: bool

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step}{f' by {self.name}' if self.name else ''}: {self.detail}"


def read_incidents(run_dir: Path) -> list[Incident]:
    """The incidents in the ledger, in order, the first hundred of each kind; none if there is no ledger.

    Reading stops quietly where the ledger is damaged: reporting that is up to the audit.
    """
    file = run_dir / ledger.NAME
    if not _has_incidents(file):
        return []
    incidents, format_ = Incidents(), ledger.FORMAT
    with open_regular(file) as stream, suppress(ledger.LedgerDamaged):
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


def _has_incidents(file: Path) -> bool:
    """Searches the raw bytes, because decoding the records of a long run is slow."""
    try:
        with open_regular(file) as stream:
            return any(_MARK in line for line in stream)
    except FileNotFoundError:
        return False
