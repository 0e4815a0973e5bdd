"""`pangea audit`: checks the promises of a run from its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from pangea.commands.audit_view import View, as_json, show
from pangea.errors import PangeaError
from pangea.foreign import open_regular
from pangea.ledger.audit import audit_ledger
from pangea.ledger.other_files import audit_files
from pangea.ledger.reader import NAME, Hash
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
@click.option("--json", "json_wanted", is_flag=True, help="Print the findings as JSON.")
def audit_command(run_dir: Path, expect: Hash | None, json_wanted: bool) -> None:
    """Prove from the ledger in RUN_DIR that the run kept its promises, or list the records that refute it.

    The exit code is 0 if all promises hold, 1 if one is refuted, and 3 if the ledger is sound but has unresolved
    incidents of different bits.
    """
    folder = caller_folder() / run_dir
    try:
        with open_regular(folder / NAME) as stream:
            report = audit_ledger(stream, expect)
    except OSError as error:
        raise PangeaError(
            f"cannot read the ledger of the run: {error}; give the run directory, such as pangea-runs/..."
        ) from error
    files, notes = audit_files(folder, report.audit)
    view = View(report, files, [*report.notes, *notes])
    if json_wanted:
        print(json.dumps(as_json(str(folder), view), indent=1))
    else:
        show(Console(), view)
    sys.exit(view.exit_code)
