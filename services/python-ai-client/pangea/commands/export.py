"""`pangea export`: plain weights out of a run."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from pangea.ledger.other_files import CheckpointDamaged
from pangea.places import caller_folder


@click.command("export")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The safetensors file to write.")
@click.option("--step", type=click.IntRange(0), default=None, help="Of the checkpoint.  [default: the last state that is there]")
@click.option("--json", "as_json", is_flag=True)
def export_command(source: Path, output: Path, step: int | None, as_json: bool) -> None:
    """Write the weights in SOURCE, a run directory or a checkpoint in one, so that model.load_state_dict takes them.

    A file that is not the one that the run's ledger names is refused.
    """
    # Here, since they bring torch: other commands must not wait for it.
    from pangea.training.export import NothingToExport, export
    from pangea.training.snapshot import BadSnapshot

    target = caller_folder() / output
    try:
        exported = export(caller_folder() / source, target, step)
    except (NothingToExport, CheckpointDamaged, OSError, BadSnapshot) as error:
        print(f"pangea: {error}", file=sys.stderr)
        sys.exit(1)
    if as_json:
        print(json.dumps({"output": str(target), **dataclasses.asdict(exported), "source": str(exported.source)}, indent=1))
    else:
        print(f"{target}: {exported.tensors} tensors after {exported.step} steps, from {exported.source} ({exported.vouched})")
