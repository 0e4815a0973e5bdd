"""Presents an audit as a table for users and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from pangea.commands.terminal import show_line, text
from pangea.ledger.audit import Report
from pangea.ledger.audit_finding import Finding
from pangea.ledger.audit_incidents import IncidentKind, IncidentRow

# How many rows of a refuted promise, and of a kind of incident, are shown; --json has more.
_MAX_ROWS, _MAX_INCIDENTS = 8, 3


@dataclasses.dataclass(frozen=True)
class View:
    """The result of an audit of a run directory: of its ledger, of its other files, and who signed it."""

    report: Report
    files: list[Finding]
    notes: list[str]
    signed: str

    @property
    def sound(self) -> bool:
        """Whether no promise is refuted."""
        return self.report.holds and all(finding.holds for finding in self.files)

    @property
    def unresolved(self) -> int:
        """The number of incidents after which the same bits are not guaranteed."""
        return self.report.audit.incidents.unresolved

    @property
    def exit_code(self) -> int:
        """The exit code: 0 if all promises hold, 1 if one is refuted, 3 if there are only unresolved incidents."""
        return 1 if not self.sound else 3 if self.unresolved else 0

    @property
    def verdict(self) -> str:
        """The verdict, in one line."""
        if not self.sound:
            return "REFUTED"
        if self.unresolved:
            return (
                f"the ledger is sound, but {_counted(self.unresolved, 'incident')} of different bits: the promise of"
                " the same bits did not hold"
            )
        return "all promises hold"


def figures(report: Report) -> dict[str, Any]:
    """The figures of a run, for programs."""
    audit = report.audit
    stop, cut = audit.end.stop, audit.cut
    return {
        "run_id": audit.settings.run_id if audit.settings else None,
        "head": report.head,
        "records": report.records,
        "committed_records": report.committed,
        "steps": audit.steps,
        "total_steps": audit.end.total_steps if audit.model else None,
        "samples": audit.samples,
        "weight": audit.weight,
        "left_out_samples_per_epoch": cut.samples - cut.used if cut else 0,
        "finished": audit.finished is not None,
        "stopped": dataclasses.asdict(stop) if stop else None,
        "changes": [dataclasses.asdict(change) for change in audit.end.changes],
        "incidents": audit.incidents.count,
        "unresolved_incidents": audit.incidents.unresolved,
        "starts": audit.counts.get("start", 0),
    }


def as_json(run_dir: str, view: View) -> dict[str, Any]:
    """The whole result, for programs."""

    def plain(finding: Finding) -> dict[str, Any]:
        return {"holds": finding.holds, **dataclasses.asdict(finding)}

    return {
        "run_dir": run_dir,
        "holds": view.exit_code == 0,
        "sound": view.sound,
        "verdict": view.verdict,
        **figures(view.report),
        "incident_kinds": [dataclasses.asdict(kind) for kind in view.report.audit.incidents.kinds.values()],
        "ledger": [plain(finding) for finding in view.report.findings],
        "files": [plain(finding) for finding in view.files],
        "notes": view.notes,
        "signed": view.signed,
    }


def show(console: Console, view: View) -> None:
    """Prints the result for users."""
    report = view.report
    table = Table(title=text(f"Audit of run {figures(report)['run_id']}"), show_lines=False)
    table.add_column("promise", overflow="fold")
    table.add_column("result", overflow="fold")
    for title, findings in (
        ("the ledger alone", report.findings),
        ("other files, compared with the ledger", view.files),
    ):
        if findings:
            table.add_section()
            table.add_row(text(title, "italic"), "")
        for finding in findings:
            name = f"{finding.promise}: {finding.sentence}"
            table.add_row(text(name), text("ok", "green") if finding.holds else text(_refutation(finding), "bold red"))
    console.print(table)
    for line in _lines(view):
        show_line(console, line)
    show_line(console, view.verdict, {0: "green", 1: "bold red", 3: "bold yellow"}[view.exit_code])


def _lines(view: View) -> Iterator[str]:
    found = figures(view.report)
    for kind in view.report.audit.incidents.kinds.values():
        yield from _incidents(kind)
    for change in view.report.audit.end.changes:
        yield (
            f"changed before step {change.step}: {change.what} from {change.old or 'nothing'} to"
            f" {change.new or 'nothing'}"
        )
    yield from _end(view.report)
    yield from (f"note: {note}" for note in view.notes)
    yield view.signed
    total = f" of {found['total_steps']}" if found["total_steps"] else ""
    yield (
        f"{found['steps']}{total} steps, {found['samples']} samples, {found['records']} records, {found['starts']}"
        f" starts, {found['incidents']} incidents"
    )
    yield f"head: {view.report.head}"


def _end(report: Report) -> Iterator[str]:
    """The lines about samples and steps that the run did not use."""
    audit = report.audit
    cut, stop = audit.cut, audit.end.stop
    if cut is not None and (left := cut.samples - cut.used):
        yield (
            f"left out: the last {_counted(left, 'sample')} in the order of each epoch, which do not fill a step;"
            f" {_counted(audit.epochs_ended, 'epoch')} ended so far"
        )
    if stop is not None:
        by = f"stopped by {stop.name or f'worker {stop.worker}'}: {stop.reason}"
        done = "complete" if audit.finished is not None else "not yet complete"
        yield f"{done} up to step {stop.steps} of {audit.end.total_steps}, {by}"


def _incidents(kind: IncidentKind) -> Iterator[str]:
    resolved = ""
    if kind.resolved:
        resolved = ", resolved" if kind.resolved == kind.count else f", {kind.resolved} resolved"
    yield f"{_counted(kind.count, kind.kind)}{resolved}: {kind.meaning}"
    # Unresolved ones come first.
    shown = sorted(kind.rows, key=lambda row: row.resolved)[:_MAX_INCIDENTS]
    yield from (f"  {_incident(row)}" for row in shown)
    if kind.count > len(shown):
        yield f"  and {kind.count - len(shown)} more"


def _incident(row: IncidentRow) -> str:
    shards = ""
    if row.count:
        shards = f", shard {row.first}" if row.count == 1 else f", shards {row.first}-{row.first + row.count - 1}"
    who = f", {row.name or f'worker {row.worker}'}" if row.worker else ""
    return (
        f"{'resolved, ' if row.resolved else ''}record {row.record} (line {row.line}), step {row.step}{shards}{who}:"
        f" {row.detail}"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _refutation(finding: Finding) -> str:
    rows = [
        f"record {row.record} (line {row.line}): {row.detail}" if row.record is not None else row.detail
        for row in finding.rows[:_MAX_ROWS]
    ]
    if finding.refutations > len(rows):
        rows.append(f"and {finding.refutations - len(rows)} more")
    return "REFUTED\n" + "\n".join(rows)
