"""A program that fails becomes one readable error."""

import pytest

from tools.door.errors import DoorError, run


def test_output_is_given() -> None:
    assert run(["/bin/echo", "here"], "greet") == "here\n"


def test_a_failure_says_what_was_wanted_and_what_was_said() -> None:
    with pytest.raises(DoorError, match=r"cannot fetch it: `/bin/sh -c .*` exited with 3:\n  no mirror"):
        run(["/bin/sh", "-c", "echo no mirror >&2; exit 3"], "fetch it")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(DoorError, match="cannot fetch it: there is no `no-such-program`"):
        run(["no-such-program"], "fetch it")
