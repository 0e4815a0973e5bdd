"""The `pangea` command: the group of all subcommands."""

from __future__ import annotations

import importlib
import io
import sys

import click

from pangea.commands.error_messages import PangeaGroup
from pangea.release import RELEASE

# Each is `NAME_command` of `pangea.commands.NAME`.
_NAMES = (
    "train",
    "status",
    "chaos",
    "launch",
    "doctor",
    "audit",
    "export",
    "health",
    "worker",
    "program",
    "certs",
    "tensorboard",
)


class LazyGroup(PangeaGroup):
    """A group that imports a command when it is named: a run starts sooner without the modules of all others."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_NAMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command with this name."""
        if name not in _NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"pangea.commands.{name}"), f"{name}_command")
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(RELEASE, prog_name="pangea", message="%(prog)s %(version)s")
def main() -> None:
    """Train PyTorch models on many machines: kill anything, same bits, every sample once."""
    for stream in (sys.stdout, sys.stderr):
        # A path or a script's message may have characters that the terminal's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
