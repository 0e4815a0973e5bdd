"""`pangea tensorboard`: converts the figures of a run for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pangea.commands.event_file import EVENT_FILE, Converter, EventFile, require_tensorboard
from pangea.errors import PangeaError
from pangea.places import caller_folder


@click.command("tensorboard")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The folder to write to; it is what tensorboard takes as --logdir.  [default: RUN_DIR/tensorboard]",
)
@click.option(
    "--follow",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Continue as the run grows, with this pause between two looks, until Ctrl-C.",
)
def tensorboard_command(run_dir: Path, output: Path | None, follow: float | None) -> None:
    """Write the loss of each step of RUN_DIR, and what its script logs with run.log, for TensorBoard.

    A run that was resumed, or that recovered from a crash, has each step once. A file that was written before is
    replaced. What the script reported after the last step is shown at the number of all steps.
    """
    folder = caller_folder() / run_dir
    if not (folder / "metrics.jsonl").exists():
        raise PangeaError(f"{folder} has no metrics.jsonl; name the directory of a run")
    target = caller_folder() / output if output else folder / "tensorboard"
    require_tensorboard()
    target.mkdir(parents=True, exist_ok=True)
    with (target / EVENT_FILE).open("wb") as stream:
        converter = Converter(folder, EventFile(stream))
        steps = converter.convert()
        print(f"{target}: {steps} steps; see them with: tensorboard --logdir {target}", flush=True)
        while follow is not None:
            stream.flush()
            time.sleep(follow)
            converter.convert()
