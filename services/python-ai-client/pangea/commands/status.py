"""`pangea status`: how a run stands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from pangea.commands.status_view import view
from pangea.places import caller_folder
from pangea.rundir.status import ACTIVE_STATES, StatusUnavailable, read_status
from pangea.services.stopping import StopRequest, catch_signals

_REFRESH_SECONDS = 0.5
# So often in a row nobody answers before a run counts as ended: its orchestrator may just be started again.
_SILENT_LOOKS = 6


@click.command("status")
@click.argument("target", metavar="RUN_DIR|HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch an object a line.")
@click.option("--watch", is_flag=True, help="Go on until the run ends, or Ctrl-C.")
def status_command(target: str, as_json: bool, watch: bool) -> None:
    """Show how a run stands: live if its orchestrator answers, else what its files tell."""
    first = read_status(target, caller_folder())
    if not watch:
        print(json.dumps(first, indent=1)) if as_json else Console().print(view(first))
        return
    with catch_signals() as request:
        _show(first, _following(target, caller_folder(), request), as_json)


def _show(first: dict[str, Any], following: Iterator[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(first), flush=True)
        for status in following:
            print(json.dumps(status), flush=True)
        return
    with Live(view(first), auto_refresh=False) as live:
        for status in following:
            live.update(view(status), refresh=True)


def _following(target: str, base: Path, request: StopRequest) -> Iterator[dict[str, Any]]:
    """The status again and again, until the run has ended or the user wants no more."""
    silent = 0
    while request.stop_signal is None and silent < _SILENT_LOOKS:
        try:
            status = read_status(target, base)
        except StatusUnavailable:  # its orchestrator has gone, and there are no files to look at
            status = None
        silent = silent + 1 if status is None or not status["live"] else 0
        if status is not None:
            yield status
            if status["state"] not in (*ACTIVE_STATES, "killed"):
                return
        time.sleep(_REFRESH_SECONDS)
