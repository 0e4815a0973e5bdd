"""`pangea worker`: one worker of a run that is somewhere else; what a container or a host of a cluster starts."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from pangea.arithmetic import LEVELS, VARIABLE, ensure_pinned
from pangea.commands.error_messages import SCRIPT_RUNNING
from pangea.commands.options import ScriptCommand, script_arguments, script_path
from pangea.places import caller_folder
from pangea.worker.probes import serve_health
from pangea.worker.sigterm import Sigterm


def _exit(number: int, _frame: FrameType | None) -> None:
    # As a shell calls it.
    sys.exit(128 + number)


@click.command("worker", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option("--orchestrator", envvar="PANGEA_ORCHESTRATOR", show_envvar=True, required=True, metavar="HOST:PORT", help="Whose run this joins.")
@click.option("--data", envvar="PANGEA_DATA", show_envvar=True, required=True, metavar="HOST:PORT,...", help="The data service, or several replicas of it.")
@click.option(
    "--run-dir", envvar="PANGEA_RUN_DIR", show_envvar=True, metavar="DIR", help="The run's directory, if this machine sees it: for the trained weights and the script's figures."
)
@click.option("--name", envvar="PANGEA_WORKER_NAME", show_envvar=True, help="Of this worker, for people.  [default: host name and process number]")
@click.option("--http", envvar="PANGEA_HTTP", show_envvar=True, metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics there.")
@click.option(
    "--seed",
    envvar="PANGEA_SEED",
    show_envvar=True,
    type=click.IntRange(0, (1 << 63) - 1),
    default=0,
    show_default=True,
    help="Of the initial parameters; the same for all workers of a run.",
)
@click.option("--arithmetic", envvar=VARIABLE, show_envvar=True, type=click.Choice(list(LEVELS)), help="Of the run.  [default: the best of this machine]")
@click.pass_context
def worker_command(context: click.Context, /, script: Path | None, **options: str | int | None) -> None:
    """Run SCRIPT (default: a digit classifier) as a worker of a run whose services are somewhere else.

    It ends when the run does, with the script's exit code. On SIGTERM or SIGHUP it leaves the run and exits with 143 or 129, so that whoever keeps it knows that its work is not done.
    """
    path, arguments = script_path(script), script_arguments(context) or ()
    # The script's `pangea.join` reads them there.
    for option in context.command.params:
        if isinstance(option.envvar, str) and option.name is not None and (value := options[option.name]) is not None:
            os.environ[option.envvar] = str(value)
    # Before anything loads torch.
    ensure_pinned()
    # From now on, so that a script may take its time before it joins and after it has left.
    serve_health()
    # The first process of a container gets no signal that it has no handler for. Within a run `pangea.join` has its own.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    # It asks whoever leads the run for a checkpoint.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # A path that the script opens is meant from where the user called; modules are still found where they are now.
    sys.path[:] = [os.path.abspath(entry) if entry else entry for entry in sys.path]
    os.chdir(caller_folder())
    sys.argv = [str(path), *arguments]
    # As `python SCRIPT` would.
    sys.path.insert(0, str(path.parent))
    context.meta[SCRIPT_RUNNING] = True
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
    # A Job of Kubernetes takes 0 for a worker that has completed, and would not replace it after a drain.
    if Sigterm.caught:
        sys.exit(128 + Sigterm.caught)
