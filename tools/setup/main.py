"""From nothing to a tested stack, in seven steps: validate the machine, make the test data, build the images, deploy the stack, run the end-to-end test
against it, show the logs, clean up.

The cleanup also runs when a step fails or on Ctrl-C; the exit code is then that of the failed command, and the end of its log is shown.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import signal
import sys

from tools.setup.commands import Commands
from tools.setup.lock import AlreadyRunning, lock_file, take_lock
from tools.setup.runner import run_steps
from tools.setup.stack_containers import ContainerStack
from tools.setup.stack_processes import ProcessStack
from tools.setup.steps import SevenSteps, chosen

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]
STEPS = 7


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Runs the requested steps; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="setup.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="keep the stack and its files, whatever happens")
    parser.add_argument(
        "--steps", default=f"1-{STEPS}", metavar="LIST", help="only these, such as 1-3,5 (default: all)"
    )
    parser.add_argument(
        "--no-containers", action="store_true", help="the same with local processes; needs no container engine"
    )
    parser.add_argument("--epochs", type=int, default=40, help="of the run that is tested (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        wanted = chosen(options.steps, STEPS)
    except ValueError as error:
        parser.error(f"--steps: {error}")
    # SIGTERM is followed by the same cleanup as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # Held until this process ends.
        lock = take_lock(lock_file())
    except AlreadyRunning as error:
        print(f"setup.sh: {error}", file=sys.stderr)
        return 1
    folder = WORKSPACE / "pangea-runs" / "setup"
    shutil.rmtree(folder, ignore_errors=True)
    commands = Commands(WORKSPACE, folder / "logs")
    stack = (ProcessStack if options.no_containers else ContainerStack)(commands, folder, options.epochs)

    def show(text: str) -> None:
        print(text, flush=True)

    code = run_steps(SevenSteps(commands, stack, show).steps(), wanted, options.keep, show)
    if options.keep:
        show(f"to remove the stack later: {stack.how_to_remove()}")
    lock.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
