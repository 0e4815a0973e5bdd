"""The first true result ends a wait; so do an error and the deadline."""

from __future__ import annotations

import pytest

from tools.processes.waiting import eventually


def test_the_first_true_result_is_returned() -> None:
    answers = iter([None, 0, "", "there", "never seen"])
    assert eventually(lambda: next(answers), "an answer") == "there"
    assert next(answers) == "never seen"


def test_it_polls_once_even_without_patience() -> None:
    assert eventually(lambda: 7, "seven", patience_seconds=0) == 7


def test_the_error_at_the_deadline_says_what_was_waited_for() -> None:
    with pytest.raises(TimeoutError, match="waited 0 s in vain: the worker joins"):
        eventually(lambda: False, "the worker joins", patience_seconds=0)


def test_an_error_of_the_condition_is_passed_on() -> None:
    def fails() -> bool:
        raise ValueError("the process is dead")

    with pytest.raises(ValueError, match="is dead"):
        eventually(fails, "nothing")
