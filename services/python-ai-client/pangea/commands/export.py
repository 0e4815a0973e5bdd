"""`pangea export`: writes the weights of a run to a plain safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pangea.ledger.exportable import find_exportable
from pangea.places import caller_folder


@click.command("export")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The safetensors file to write.")
@click.option(
    "--step",
    type=click.IntRange(0),
    default=None,
    help="Export the checkpoint of this step.  [default: the latest weights]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def export_command(source: Path, output: Path, step: int | None, as_json: bool) -> None:
    """Write the weights in SOURCE, a run directory or a checkpoint in one, to a file for model.load_state_dict.

    A file is refused unless its content is what the run's ledger recorded.
    """
    # Imported here because it imports torch, which takes seconds.
    from pangea.training.export import export_checkpoint, export_final

    found, target = find_exportable(caller_folder() / source, step), caller_folder() / output
    if found.sha256:
        tensors, vouched = (
            export_checkpoint(found.path, target),
            f"the file's SHA-256 is {found.sha256}, as the ledger says",
        )
    else:
        tensors, vouched = export_final(found.path, target, found.tensors, found.params_hash, found.content_hash)
    if as_json:
        print(
            json.dumps(
                {
                    "output": str(target),
                    "source": str(found.path),
                    "step": found.step,
                    "tensors": tensors,
                    "vouched": vouched,
                },
                indent=1,
            )
        )
    else:
        print(f"{target}: {tensors} tensors after {found.step} steps, from {found.path} ({vouched})")
