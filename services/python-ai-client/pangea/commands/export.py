"""`pangea export`: plain weights out of a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pangea.ledger.exportable import find_exportable
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
    # Here, since it brings torch: other commands must not wait for it.
    from pangea.training.export import export_checkpoint, export_final

    found, target = find_exportable(caller_folder() / source, step), caller_folder() / output
    if found.sha256:
        tensors, vouched = export_checkpoint(found.path, target), f"the file's SHA-256 is {found.sha256}, as the ledger says"
    else:
        tensors, vouched = export_final(found.path, target, found.tensors, found.params_hash)
    if as_json:
        print(json.dumps({"output": str(target), "source": str(found.path), "step": found.step, "tensors": tensors, "vouched": vouched}, indent=1))
    else:
        print(f"{target}: {tensors} tensors after {found.step} steps, from {found.path} ({vouched})")
