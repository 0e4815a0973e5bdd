"""`pangea worker`: one worker of a run whose services are on other machines, for containers and clusters."""

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
    # The exit code that a shell would report.
    sys.exit(128 + number)


@click.command("worker", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option(
    "--orchestrator",
    envvar="PANGEA_ORCHESTRATOR",
    show_envvar=True,
    required=True,
    metavar="HOST:PORT",
    help="The orchestrator of the run to join.",
)
@click.option(
    "--data",
    envvar="PANGEA_DATA",
    show_envvar=True,
    metavar="HOST:PORT,...",
    help="The replicas of the data service; none for a script with a dataset of its own.",
)
@click.option(
    "--run-dir",
    envvar="PANGEA_RUN_DIR",
    show_envvar=True,
    metavar="DIR",
    help="The run directory, if it is on this machine: for the trained weights and the script's results.",
)
@click.option(
    "--name",
    envvar="PANGEA_WORKER_NAME",
    show_envvar=True,
    help="Name of this worker, for messages.  [default: host name and process number]",
)
@click.option(
    "--identity",
    envvar="PANGEA_IDENTITY",
    show_envvar=True,
    metavar="DIR",
    help="Folder with this worker's certificate, for services on other machines (pangea certs).",
)
@click.option(
    "--http",
    envvar="PANGEA_HTTP",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Serve /healthz, /readyz and /metrics at this address; beyond the loopback over TLS, with --identity, or to"
    " everybody with PANGEA_INSECURE=1.",
)
@click.option(
    "--seed",
    envvar="PANGEA_SEED",
    show_envvar=True,
    type=click.IntRange(0, (1 << 63) - 1),
    default=0,
    show_default=True,
    help="Seed of the initial parameters; the same for all workers of a run.",
)
@click.option(
    "--arithmetic",
    envvar=VARIABLE,
    show_envvar=True,
    type=click.Choice(list(LEVELS)),
    help="The run's instruction set.  [default: the best one of this machine]",
)
@click.pass_context
def worker_command(context: click.Context, /, script: Path | None, **options: str | int | None) -> None:
    """Run SCRIPT (default: a digit classifier) as a worker of a run whose services are on other machines.

    The worker exits when the run ends, with the script's exit code. On SIGTERM and SIGHUP it leaves the run and exits
    with 143 or 129, which tells its supervisor that the run is not finished.
    """
    path, arguments = script_path(script), script_arguments(context) or ()
    # `pangea.join` in the script reads its options from the environment.
    for option in context.command.params:
        if isinstance(option.envvar, str) and option.name is not None and (value := options[option.name]) is not None:
            os.environ[option.envvar] = str(value)
    # Before anything loads torch.
    ensure_pinned()
    # From now on, so that health checks also succeed before the script joins and after it has left.
    serve_health()
    # The kernel drops signals without a handler for process 1 of a container. Within a run `pangea.join` installs its
    # own handlers.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    # A request for a checkpoint, which only the orchestrator handles.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # A path that the script opens is relative to the user's working directory; relative entries of sys.path keep their
    # meaning.
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
    # With exit code 0, a Kubernetes Job would consider the worker complete, and not replace it after a drain.
    if Sigterm.caught:
        sys.exit(128 + Sigterm.caught)
