"""Which calls of ./bazelw run a program on the machine."""

from __future__ import annotations

import pytest

from tools.door.machine import run_position


@pytest.mark.parametrize(
    ("words", "position"),
    [
        ("run //:demo", 0),
        ("run --config=ci //:demo -- --epochs 2", 0),
        ("--output_base=/x run //:demo", 1),
        ("run //:demo -- --script_path=mine", 0),
    ],
)
def test_run_is_found(words: str, position: int) -> None:
    assert run_position(words.split()) == position


@pytest.mark.parametrize(
    "words", ["", "--version", "build //run", "test run", "query -- run", "run --script_path=out.sh //:demo"]
)
def test_other_commands_are_bazels_alone(words: str) -> None:
    assert run_position(words.split()) is None
