"""Every `pangea` command in a document has a subcommand and options that exist."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from pangea.commands.main import main
from tests.docs.documents import commands, documents

_CALL = re.compile(r"(?:\./bazelw run //:pangea --|(?<![\w/.-])pangea) ([a-z]+ [^#|>&;)`]*)")


def wrong(call: str) -> str | None:
    """What is wrong with the words behind `pangea`; None if nothing is."""
    name, *words = shlex.split(call)
    command = main.get_command(click.Context(main), name)
    if command is None:
        return f"there is no command {name}"
    own = words[: words.index("--")] if "--" in words else words
    try:
        command.make_parser(click.Context(command)).parse_args(own)
    except click.UsageError as error:
        return f"{name}: {error.message}"
    return None


@pytest.mark.parametrize("document", documents())
def test_commands_and_options_exist(document: str) -> None:
    calls = [call for line in commands(document) for call in _CALL.findall(line)]
    assert [(call, found) for call in calls if (found := wrong(call)) is not None] == []


def test_there_are_commands() -> None:
    assert len([call for line in commands("README.md") for call in _CALL.findall(line)]) > 5


def test_what_is_gone_is_noticed() -> None:
    assert wrong("train x.py --workers 2 -- --own") is None
    assert "--gone" in (wrong("train --gone") or "")
    assert "no command gone" in (wrong("gone") or "")
