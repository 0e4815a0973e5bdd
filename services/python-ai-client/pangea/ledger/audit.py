"""Proves from a ledger alone that a run kept its promises, or names the records that refute it.

The audit of each record is in `audit_records.py`; here are the audit of a whole ledger and its report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from pangea.ledger.audit_finding import Finding, Row, tree_sum
from pangea.ledger.audit_records import PROMISES, Audit
from pangea.ledger.reader import FIRST_LINE, NO_CHAIN, LedgerDamaged, Reader
from pangea.ledger.records import Hash

__all__ = ["PROMISES", "Audit", "Finding", "Report", "Row", "audit_ledger", "tree_sum"]


@dataclass(frozen=True)
class Report:
    """The result of an audit.

    Attributes:
        audit: the audit, with what it learned about the run.
        head: the chain hash of the last record. Whoever keeps it can later detect that the ledger was replaced by an
            older copy.
        records, committed: the number of records that were read, and of those that the commit slots cover.
        notes: observations that refute nothing.
        expected: the finding about an earlier head; None if none was given.
        chain_at: the chain hash after the number of records that was asked for; None if there are fewer.
    """

    audit: Audit
    head: Hash
    records: int
    committed: int
    notes: list[str]
    expected: Finding | None
    chain_at: Hash | None = None

    @property
    def findings(self) -> list[Finding]:
        """The findings for all promises."""
        return [*self.audit.findings.values(), *([self.expected] if self.expected is not None else [])]

    @property
    def holds(self) -> bool:
        """Whether no promise is refuted. Incidents of different bits are in `audit.incidents`."""
        return all(finding.holds for finding in self.findings)


def audit_ledger(stream: BinaryIO, expect: Hash | None = None, at: int | None = None) -> Report:
    """Audits a ledger in one pass, with memory for one record and 64 bytes per step.

    Args:
        stream: the ledger's file, seekable.
        expect: the head that the ledger had at an earlier time, which it still has to contain.
        at: the number of records after which the chain hash is wanted.
    """
    audit = Audit()
    chain = audit.findings["chain"]
    expected = Finding("expected", "the head of the earlier audit is part of the chain") if expect is not None else None
    found = expect == NO_CHAIN
    chain_at = NO_CHAIN if at == 0 else None
    reader: Reader | None = None
    try:
        reader = Reader(stream)
        for entry in reader:
            audit.observe(entry)
            found = found or entry.chain == expect
            if entry.number + 1 == at:
                chain_at = entry.chain
    except LedgerDamaged as error:
        chain.refutations += 1
        chain.rows.append(
            Row(f"{error}; the other promises are checked only up to there", error.record, error.record + FIRST_LINE)
        )
    if audit.settings is None and chain.holds and not audit.findings["begin"].refutations:
        audit.findings["begin"].refute("the ledger has no records: no run was started")
    if expected is not None and not found:
        expected.refute(
            f"no record has the chain hash {expect}: this is a different ledger, or an older copy (a rollback)"
        )
    if reader is None:
        return Report(audit, NO_CHAIN, 0, 0, [], expected)
    return Report(audit, reader.head, reader.records, reader.committed.records, _notes(reader), expected, chain_at)


def _notes(reader: Reader) -> list[str]:
    """Traces of a crash, or of a write in progress, in a ledger that was read to its end."""
    notes = []
    if reader.invalid_slots:
        notes.append(
            f"commit slot {reader.invalid_slots[0]} is invalid, as a crash can leave it until the next start. The"
            " records that the other slot covers are intact; the loss of a later one would not be detected"
        )
    if reader.trailing_bytes:
        notes.append(
            f"the {reader.trailing_bytes} bytes after the last record are not a complete record: a write that is in"
            " progress or was cut off by a crash, and was never acknowledged"
        )
    if reader.records > reader.committed.records:
        notes.append(
            f"no commit slot names the last {reader.records - reader.committed.records} records yet: the run continues,"
            " or it was killed, and the next start names them. Until then, damage to them could not be distinguished"
            " from a write that was cut off"
        )
    return notes
