"""The one place where an error becomes what the user reads: a sentence on stderr and exit code 1, no traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from pangea.errors import PangeaError, wants_traceback

# Set in a context's `meta` once the user's script runs in this process: its errors keep their tracebacks, and those of
# Pangea are told with the script's line (`pangea.training.determinism`).
SCRIPT_RUNNING = "pangea.script_runs"


class PangeaGroup(click.Group):
    """Commands whose errors are told in a sentence: those of Pangea, and those of a disk or a network that refuses."""

    def invoke(self, context: click.Context) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # Whoever reads our output has seen enough; click ends quietly then.
            raise
        except (PangeaError, OSError) as error:
            if context.meta.get(SCRIPT_RUNNING) or wants_traceback():
                raise
            print(f"pangea: {error}", file=sys.stderr)
            sys.exit(1)
