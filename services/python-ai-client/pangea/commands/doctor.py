"""`pangea doctor`: checks whether this machine can train, and whether a script keeps the promise of the same bits."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from pangea.arithmetic import ensure_pinned
from pangea.commands.options import ScriptCommand, script_arguments, script_path, shared
from pangea.launch.outcome import Listeners
from pangea.launch.settings import Settings
from pangea.launch.train import train
from pangea.printable import printable
from pangea.services.child import ChildFailed
from pangea.services.stopping import catch_signals
from pangea.torch_version import require_torch

_MARKS = {True: "ok ", False: "BAD", None: "-- "}


@click.command("doctor", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@shared
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor_command(context: click.Context, /, script: Path | None, as_json: bool, **options: Any) -> None:
    """Check what training needs on this machine; exit with 1 if something is missing.

    With SCRIPT: train a few steps with one worker, recompute their shards in a different order, and name the module
    whose output depends on the order.
    """
    findings = (
        _script(script_path(script), script_arguments(context) or (), options) if script is not None else _machine()
    )
    if as_json:
        print(json.dumps(findings, indent=1))
    else:
        for finding in findings:
            print(printable(f"{_MARKS[finding['ok']]} {finding['name']}: {finding['value']}"))
    if any(finding["ok"] is False for finding in findings):
        sys.exit(1)


def _machine() -> list[dict[str, Any]]:
    require_torch()
    ensure_pinned()
    # Imported here because it imports torch, which takes seconds.
    from pangea.training.doctor import examine

    return [dataclasses.asdict(finding) for finding in examine()]


def _script(script: Path, arguments: tuple[str, ...], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Checks the first steps of a script; returns one finding."""
    # For the worker: rehearse every lease, compare the modules' outputs, and end after a few steps.
    os.environ.update({"PANGEA_DOCTOR": "1", "PANGEA_REHEARSE": "1"})
    with tempfile.TemporaryDirectory() as folder, catch_signals() as request:
        settings = Settings(
            script, arguments, run_dir=str(Path(folder) / "run"), **{**options, "workers": 1, "epochs": 1}
        )
        try:
            outcome = train(settings, Listeners(lambda _line, _total: None, lambda _event: None), request)
        except ChildFailed as error:
            return [{"name": str(script), "value": str(error).splitlines()[0], "ok": False}]
        if not outcome.finished:
            return [
                {
                    "name": str(script),
                    "value": f"it ended after {len(outcome.metrics)} steps, too early for a result",
                    "ok": False,
                }
            ]
        return [
            {
                "name": str(script),
                "value": f"{len(outcome.metrics)} steps have the same bits in a different order of their shards",
                "ok": True,
            }
        ]
