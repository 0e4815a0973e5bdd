"""`pangea train`: a run on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pangea.commands.foreground import run_training
from pangea.commands.options import ScriptCommand, script_arguments, script_path, training
from pangea.launch.settings import Settings
from pangea.launch.train import resume_run, train
from pangea.printable import printable


@click.command("train", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@training
@click.option("--run-dir", type=click.Path(), default=None, help="The run directory.  [default: pangea-runs/TIME-SEED]")
@click.option(
    "--resume",
    type=click.Path(),
    default=None,
    metavar="DIR",
    help="Resume the run in DIR; the number of workers may differ, and --epochs may be larger.",
)
@click.option(
    "--take-changes",
    is_flag=True,
    default=Settings.take_changes,
    help="With --resume: accept a changed script, script arguments, optimizer or learning rate.",
)
@click.option(
    "--trust",
    is_flag=True,
    help="With --resume: run the script that DIR names, also if it lies in DIR or differs from that of the start.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def train_command(
    context: click.Context,
    /,
    script: Path | None,
    run_dir: str | None,
    resume: str | None,
    take_changes: bool,
    trust: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train SCRIPT (default: a digit classifier) with several workers.

    SCRIPT calls pangea.join; the trained parameters are the same bytes for any number of workers. Processes that are
    killed are restarted. Ctrl-C, SIGTERM and SIGHUP stop the run with a last checkpoint, and --resume continues it;
    SIGUSR1 takes a checkpoint. The exit code is 3 if the run has finished with unresolved incidents of different bits.
    """
    if resume is not None:
        if run_dir is not None:
            raise click.UsageError("--resume already gives the run directory; leave out --run-dir")
        directory = resume
        given = {
            name: value
            for name, value in options.items()
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        if script is not None:
            given["script"] = script_path(script)
        if (arguments := script_arguments(context)) is not None:
            given["arguments"] = arguments
        given["take_changes"] = take_changes

        def is_trusted(reason: str) -> bool:
            return trust or (sys.stdin.isatty() and click.confirm(printable(f"{reason}. Run it?"), err=True))

        run_training(lambda listeners, request: resume_run(directory, given, listeners, request, is_trusted), as_json)
        return
    if trust:
        raise click.UsageError("--trust belongs to --resume DIR: the script of a new run is the one that you name")
    if take_changes:
        raise click.UsageError("--take-changes belongs to --resume DIR: a new run has nothing to change")
    settings = Settings(script_path(script), script_arguments(context) or (), run_dir=run_dir, **options)
    run_training(lambda listeners, request: train(settings, listeners, request), as_json)
