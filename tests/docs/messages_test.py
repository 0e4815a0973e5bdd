"""The messages in the README's troubleshooting are those that the sources have."""

from __future__ import annotations

import re

import pytest

from tests.docs import workspace
from tests.docs.documents import table_rows

_SOURCES = (".py", ".go", ".rs", ".bzl")


def messages() -> list[str]:
    """What a user sees, as the table quotes it; `...` stands for any text."""
    quoted = [
        re.match(r"`([^`]+)`", cells[0]) for heading, cells in table_rows("README.md") if heading == "Troubleshooting"
    ]
    return [quote[1] for quote in quoted if quote is not None]


def said_by(message: str) -> list[str]:
    """Sources that hold all parts of a message."""
    parts = [part.strip() for part in message.split("...") if part.strip()]
    sources = [file for file in workspace.files() if file.endswith(_SOURCES) and not file.startswith("tests/")]
    return [source for source in sources if all(part in workspace.read(source) for part in parts)]


def test_there_are_messages() -> None:
    assert len(messages()) >= 5
    assert said_by("the run in ... is gone for a walk") == []


@pytest.mark.parametrize("message", messages())
def test_somebody_says_it(message: str) -> None:
    assert said_by(message), "quote the message as the source has it, with ... for what changes"
