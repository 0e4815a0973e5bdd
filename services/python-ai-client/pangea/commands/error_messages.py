"""The one place where errors become messages for the user: one line on stderr and exit code 1, without a traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from pangea.commands.terminal import warn
from pangea.errors import PangeaError, wants_traceback

# Key in a context's `meta`, true once the user's script runs in this process: its errors keep their tracebacks, and
# those of Pangea are reported with the script's line (`pangea.training.determinism`).
SCRIPT_RUNNING = "pangea.script_running"


class PangeaGroup(click.Group):
    """A group of commands that prints PangeaError and OSError as messages."""

    def invoke(self, context: click.Context) -> Any:
        """Runs the subcommand."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # The reader of our output has closed the pipe; click exits quietly then.
            raise
        except (PangeaError, OSError) as error:
            if context.meta.get(SCRIPT_RUNNING) or wants_traceback():
                raise
            warn(error)
            sys.exit(1)
