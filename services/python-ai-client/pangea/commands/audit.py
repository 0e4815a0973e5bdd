"""`pangea audit`: checks the promises of a run from its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from pangea.commands.audit_view import View, as_json, show
from pangea.errors import PangeaError
from pangea.foreign import UnreadableFile, open_regular
from pangea.ledger.audit import Finding, audit_ledger
from pangea.ledger.other_files import audit_files
from pangea.ledger.reader import NAME, Hash
from pangea.ledger.signature import Signature, audit_signature, read_key, read_signature
from pangea.places import caller_folder


def _head(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Hash | None:
    if value is None:
        return None
    if len(value) != 64 or value.lower().strip("0123456789abcdef"):
        raise click.BadParameter("a head has 64 hexadecimal digits, as printed by `pangea audit`")
    return Hash(value.lower())


@click.command("audit")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--expect",
    metavar="HASH",
    callback=_head,
    help="The head that an earlier audit printed; the audit fails if the ledger no longer contains it.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The public key of the run (its ledger.pub, kept elsewhere); the audit fails unless that key has signed.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print the findings as JSON.")
def audit_command(run_dir: Path, expect: Hash | None, key: Path | None, json_wanted: bool) -> None:
    """Prove from the ledger in RUN_DIR that the run kept its promises, or list the records that refute it.

    The exit code is 0 if all promises hold, 1 if one is refuted, and 3 if the ledger is sound but has unresolved
    incidents of different bits.
    """
    folder = caller_folder() / run_dir
    wanted = read_key(caller_folder() / key) if key is not None else None
    # Before the ledger: the run may continue, and then a newer signature would cover more than was read.
    signature, unreadable = _signature(folder)
    try:
        with open_regular(folder / NAME) as stream:
            report = audit_ledger(stream, expect, signature.records if signature is not None else None)
    except OSError as error:
        raise PangeaError(
            f"cannot read the ledger of the run: {error}; give the run directory, such as pangea-runs/..."
        ) from error
    files, notes = audit_files(folder, report.audit)
    named = report.audit.settings.public_key if report.audit.settings is not None else ""
    finding, signed = audit_signature(signature, report.chain_at, named, wanted)
    findings = [*files, *(found for found in (unreadable, finding) if found is not None)]
    view = View(report, findings, [*report.notes, *notes], signed)
    if json_wanted:
        print(json.dumps(as_json(str(folder), view), indent=1))
    else:
        show(Console(), view)
    sys.exit(view.exit_code)


def _signature(folder: Path) -> tuple[Signature | None, Finding | None]:
    """The signature beside the ledger, and a finding if it cannot be read."""
    try:
        return read_signature(folder), None
    except (UnreadableFile, OSError) as error:
        finding = Finding("signature", "the file of the signature has the documented form")
        finding.refute(str(error))
        return None, finding
