"""`pangea audit`: what anyone can check from the files of a run."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pangea.audit import Finding, Report, audit_ledger
from pangea.audit_files import audit_files
from pangea.ledger import NAME, Hash
from pangea.places import caller_folder

# So many rows of a refuted promise are shown; --json has more.
_SHOWN_ROWS = 8


def _head(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Hash | None:
    if value is None:
        return None
    if len(value) != 64 or value.lower().strip("0123456789abcdef"):
        raise click.BadParameter("a head is 64 hexadecimal digits, as `pangea audit` prints it")
    return Hash(value.lower())


@click.command("audit")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--expect", metavar="HASH", callback=_head, help="A head that an earlier audit printed; refuted if the ledger does not hold it any more.")
@click.option("--json", "as_json", is_flag=True)
def audit_command(run_dir: Path, expect: Hash | None, as_json: bool) -> None:
    """Prove from the ledger in RUN_DIR that the run kept its promises, or name the records that refute it.

    Exits with 0 if all holds, with 1 if something is refuted.
    """
    folder = caller_folder() / run_dir
    try:
        with (folder / NAME).open("rb") as stream:
            report = audit_ledger(stream, expect)
    except OSError as error:
        print(f"pangea: cannot read the ledger of the run: {error}; name the run directory, such as pangea-runs/...", file=sys.stderr)
        sys.exit(1)
    files, notes = audit_files(folder, report.audit)
    holds = report.holds and all(finding.holds for finding in files)
    if as_json:
        print(json.dumps(_as_json(folder, report, files, [*report.notes, *notes], holds), indent=1))
    else:
        _print(Console(), report, files, [*report.notes, *notes], holds)
    sys.exit(0 if holds else 1)


def _figures(report: Report) -> dict[str, Any]:
    audit = report.audit
    return {
        "run_id": audit.settings.run_id if audit.settings else None,
        "head": report.head,
        "records": report.records,
        "committed_records": report.committed,
        "steps": audit.steps,
        "total_steps": audit.model.total_steps if audit.model else None,
        "samples": audit.samples,
        "finished": audit.finished is not None,
        "incidents": audit.counts.get("incident", 0),
        "starts": audit.counts.get("start", 0),
    }


def _as_json(folder: Path, report: Report, files: list[Finding], notes: list[str], holds: bool) -> dict[str, Any]:
    def plain(finding: Finding) -> dict[str, Any]:
        return {"holds": finding.holds, **dataclasses.asdict(finding)}

    return {
        "run_dir": str(folder),
        "holds": holds,
        **_figures(report),
        "ledger": [plain(finding) for finding in report.findings],
        "files": [plain(finding) for finding in files],
        "notes": notes,
    }


def _print(console: Console, report: Report, files: list[Finding], notes: list[str], holds: bool) -> None:
    figures = _figures(report)
    table = Table(title=f"Audit of run {figures['run_id']}", show_lines=False)
    table.add_column("what is promised", overflow="fold")
    table.add_column("found", overflow="fold")
    for title, findings in (("from the ledger alone", report.findings), ("the other files against the ledger", files)):
        if findings:
            table.add_section()
            table.add_row(Text(title, style="italic"), "")
        for finding in findings:
            name = f"{finding.promise}: {finding.sentence}"
            table.add_row(Text(name), Text("ok", style="green") if finding.holds else Text(_refutation(finding), style="bold red"))
    console.print(table)
    total = f" of {figures['total_steps']}" if figures["total_steps"] else ""
    lines = [
        f"{figures['steps']}{total} steps, {figures['samples']} samples, {figures['records']} records, {figures['starts']} starts, {figures['incidents']} incidents",
        *(f"note: {note}" for note in notes),
        f"head: {report.head}",
        "all promises hold" if holds else "REFUTED",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _refutation(finding: Finding) -> str:
    rows = [f"record {row.record} (line {row.line}): {row.detail}" if row.record is not None else row.detail for row in finding.rows[:_SHOWN_ROWS]]
    if finding.refutations > len(rows):
        rows.append(f"and {finding.refutations - len(rows)} more")
    return "REFUTED\n" + "\n".join(rows)
