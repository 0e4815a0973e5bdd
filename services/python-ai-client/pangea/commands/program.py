"""`pangea program`: one of the services that ship with the package, for processes that are started one by one."""

from __future__ import annotations

import os
import shutil

import click

from pangea.places import MissingFile, data_folder, program
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR


@click.command("program", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("name", type=click.Choice([ORCHESTRATOR, DATA_SERVICE]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def program_command(name: str, arguments: tuple[str, ...]) -> None:
    """Run a service that ships with the package, instead of this process; all ARGUMENTS are the service's.

    `pangea program go-orchestrator --help` lists them.
    """
    # The data service looks there for datasets without a path, such as `digits`.
    os.environ["PANGEA_DATA_DIR"] = str(data_folder())
    path = _path(name)
    os.execv(path, [name, *arguments])


def _path(name: str) -> str:
    try:
        return str(program(name))
    except MissingFile:
        # An image for workers has no services; its host may.
        if (found := shutil.which(name)) is not None:
            return found
        raise
