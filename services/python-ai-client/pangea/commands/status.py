"""`pangea status`: shows the status of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from pangea.commands.options import identity_option
from pangea.commands.status_view import view
from pangea.identity.pages import of_run
from pangea.places import caller_folder
from pangea.rundir.http_get import Access
from pangea.rundir.status import ACTIVE_STATES, StatusUnavailable, read_status
from pangea.services.stopping import StopRequest, catch_signals

_REFRESH_SECONDS = 0.5
# After this many polls in a row without an answer a run counts as ended; after fewer, its orchestrator may be
# restarting.
_MAX_SILENT_POLLS = 6


@click.command("status")
@click.argument("target", metavar="RUN_DIR|HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch one object per line.")
@click.option("--watch", is_flag=True, help="Update until the run ends, or until Ctrl-C.")
@identity_option
def status_command(target: str, as_json: bool, watch: bool, identity: Path | None) -> None:
    """Show the status of a run: live if its orchestrator answers, else from its files.

    Beyond the loopback the orchestrator wants to know who asks: --identity names the folder of a viewer or an admin,
    made by `pangea certs issue`. That of a run that `pangea launch` leads is in its run directory.
    """
    access = of_run(caller_folder() / target, identity)
    first = read_status(target, caller_folder(), access)
    if not watch:
        print(json.dumps(first, indent=1)) if as_json else Console().print(view(first))
        return
    with catch_signals() as request:
        _show(first, _updates(target, caller_folder(), access, request), as_json)


def _show(first: dict[str, Any], updates: Iterator[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(first), flush=True)
        for status in updates:
            print(json.dumps(status), flush=True)
        return
    with Live(view(first), auto_refresh=False) as live:
        for status in updates:
            live.update(view(status), refresh=True)


def _updates(target: str, base: Path, access: Access, request: StopRequest) -> Iterator[dict[str, Any]]:
    """Yields the status repeatedly, until the run has ended or the user stops it."""
    silent = 0
    while request.stop_signal is None and silent < _MAX_SILENT_POLLS:
        try:
            status = read_status(target, base, access)
        except StatusUnavailable:
            # The orchestrator was given by its address and no longer answers.
            status = None
        silent = silent + 1 if status is None or not status["live"] else 0
        if status is not None:
            yield status
            if status["state"] not in (*ACTIVE_STATES, "killed"):
                return
        time.sleep(_REFRESH_SECONDS)
