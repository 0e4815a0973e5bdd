"""Text of somebody else is shown, and neither interpreted by rich nor by the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from pangea.commands.audit_view import View, show
from pangea.commands.main import main
from pangea.commands.report import print_table
from pangea.commands.status_view import view
from pangea.commands.terminal import show_line
from pangea.errors import PangeaError, format_error
from pangea.ledger import fixtures
from pangea.ledger.audit import audit_ledger
from pangea.printable import printable

# Markup that closes nothing, a title and a cleared screen for the terminal, and a text that is read backwards.
HOSTILE = "[/x][red]\x1b]0;title\x07\x1b[2J\x9b2J\r\u202e\ud800name"
SHOWN = r"[/x][red]\x1b]0;title\x07\x1b[2J\x9b2J\r\u202e\ud800name"


def shown(content: object) -> str:
    console = Console(file=io.StringIO(), width=400)
    console.print(content)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_a_terminal_would_act_on_is_escaped_and_everything_else_is_kept() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("naïve\t日本語\n👍 ok") == "naïve\t日本語\n👍 ok"


def test_an_event_is_printed_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=20)
    show_line(console, HOSTILE, "yellow")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == SHOWN + "\n"


def test_a_status_of_a_hostile_orchestrator_is_shown() -> None:
    worker = {"name": HOSTILE, "pid": 1, "step": 1, "shards": [HOSTILE], "silent": False}
    text = shown(
        view(
            {
                "run_id": HOSTILE,
                "state": HOSTILE,
                "committed": 1,
                "step": 1,
                "total_steps": 2,
                "epoch": 0,
                "loss": None,
                "samples_per_second": None,
                "params_hash": HOSTILE,
                "workers": [worker],
                "stopped": HOSTILE,
                "live": True,
            }
        )
    )
    assert text.count(SHOWN) == 6 and "\x1b" not in text


def test_an_audit_of_a_hostile_ledger_is_shown() -> None:
    records = fixtures.run()
    records[0]["run_id"] = HOSTILE.replace("\ud800", "")
    records[-2]["contributions"][0]["worker"] = 99
    records.insert(-1, {**fixtures.incident("conflict", 5, 1, 2), "detail": "\x1b[2J[/x]", "name": "\x1b[2J"})
    report = audit_ledger(io.BytesIO(fixtures.written(records)))
    console = Console(file=io.StringIO(), width=200)
    show(console, View(report, [], ["\x1b[2J"], "not signed"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text and r"\x1b[2J[/x]" in text


def test_a_summary_with_a_hostile_reason_is_shown() -> None:
    console = Console(file=io.StringIO(), width=200)
    figures: dict[str, Any] = {
        "state": HOSTILE,
        "held_out_accuracy": None,
        "loss": None,
        "steps": 0,
        "samples_per_second": None,
        **{f"{name}_share": 0.0 for name in ("data", "compute", "exchange")},
        "training_seconds": 0.0,
        "wall_seconds": 0.0,
        "params_hash": None,
        "run_dir": "there",
        "restarts": {},
        "stopped": HOSTILE,
        "incidents": [],
    }
    print_table(console, figures)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count(SHOWN) == 2


def test_an_error_is_printed_without_commands_for_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("status")
    def failing() -> None:
        raise PangeaError(HOSTILE)

    monkeypatch.setattr("pangea.commands.status.status_command", failing)
    assert CliRunner().invoke(main, ["status"]).output == f"pangea: {SHOWN}\n"
    assert format_error(PangeaError(HOSTILE), None) == f"pangea: {SHOWN}"


def test_the_names_of_a_run_on_disk_do_not_reach_the_terminal(tmp_path: Path) -> None:
    record = {
        "run_id": "\x1b[2J[/x]",
        "state": "stopped",
        "total_steps": 1,
        "params_hash": "",
        "stopped": "\x1b]0;a\x07",
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    result = CliRunner().invoke(main, ["status", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output and r"\x1b]0;a\x07" in result.output
