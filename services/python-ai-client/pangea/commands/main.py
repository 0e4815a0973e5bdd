"""The `pangea` command."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pangea.commands.audit import audit_command
from pangea.commands.chaos import chaos_command
from pangea.commands.doctor import doctor_command
from pangea.commands.error_messages import PangeaGroup
from pangea.commands.export import export_command
from pangea.commands.foreground import run_training
from pangea.commands.health import health_command
from pangea.commands.launch import launch_command
from pangea.commands.options import ScriptCommand, script_arguments, script_path, training
from pangea.commands.status import status_command
from pangea.commands.worker import worker_command
from pangea.launch.settings import Settings
from pangea.launch.train import resume_run, train
from pangea.release import RELEASE


@click.group(cls=PangeaGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(RELEASE, prog_name="pangea", message="%(prog)s %(version)s")
def main() -> None:
    """Train PyTorch models on many machines: kill anything, same bits, every sample once."""
    for stream in (sys.stdout, sys.stderr):
        # A path, or a script's text, may have characters that the terminal's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command("train", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@training
@click.option("--run-dir", type=click.Path(), default=None, help="Where the run's files go.  [default: pangea-runs/TIME-SEED]")
@click.option("--resume", type=click.Path(), default=None, metavar="DIR", help="Go on with the run in DIR, also with another number of workers or more --epochs.")
@click.option("--take-changes", is_flag=True, default=Settings.take_changes, help="With --resume: go on with another script, other arguments of it, optimizer or learning rate.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing figures as JSON.")
@click.pass_context
def train_command(context: click.Context, /, script: Path | None, run_dir: str | None, resume: str | None, take_changes: bool, as_json: bool, **options: Any) -> None:
    """Train SCRIPT (default: a digit classifier) with several workers.

    SCRIPT calls pangea.join; its parameters are the same bytes for any number of workers. Processes that are killed are started again. Ctrl-C,
    SIGTERM or SIGHUP stops the run with a last checkpoint, and --resume goes on; SIGUSR1 takes a checkpoint now. Exits with 3 if the run has
    finished, but with different bits that nobody could settle.
    """
    if resume is not None:
        if run_dir is not None:
            raise click.UsageError("--resume names the run's directory already; leave out --run-dir")
        directory = resume
        asked = {name: value for name, value in options.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        if script is not None:
            asked["script"] = script_path(script)
        if (arguments := script_arguments(context)) is not None:
            asked["arguments"] = arguments
        asked["take_changes"] = take_changes
        run_training(lambda listeners, request: resume_run(directory, asked, listeners, request), as_json)
        return
    if take_changes:
        raise click.UsageError("--take-changes belongs to --resume DIR: a new run has nothing that could change")
    settings = Settings(script_path(script), script_arguments(context) or (), run_dir=run_dir, **options)
    run_training(lambda listeners, request: train(settings, listeners, request), as_json)


for command in (
    status_command,
    chaos_command,
    launch_command,
    doctor_command,
    audit_command,
    export_command,
    health_command,
    worker_command,
):
    main.add_command(command)
