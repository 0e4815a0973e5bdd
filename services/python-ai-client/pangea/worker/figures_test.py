"""What a script logs is a number with a usable name, or refused with what to do; and reported for as long as needed."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch

from pangea.contract import MAX_FIGURE_NAME_BYTES, MAX_FIGURES
from pangea.errors import MisusedRun
from pangea.worker.figures import Logged, add, checked


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (0.25, 0.25),
        (True, 1.0),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([[2]]), 2.0),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (numpy.float32(0.5), 0.5),
        (numpy.array([3]), 3.0),
        (float("inf"), float("inf")),
    ],
)
def test_numbers_of_any_kind_are_figures(value: Any, number: float) -> None:
    assert checked({"a": value}, {}) == checked(None, {"a": value}) == {"a": number}


def test_a_dictionary_may_have_names_that_keywords_cannot_have() -> None:
    assert checked({"loss/kl": 1, "step": 2}, {"accuracy": 3}) == {"loss/kl": 1.0, "step": 2.0, "accuracy": 3.0}


def test_a_step_that_is_given_is_refused() -> None:
    with pytest.raises(MisusedRun, match=r"run.log takes no step=.* write run.log\(\{'step': \.\.\.\}\)"):
        checked({"accuracy": 1}, {"step": 3})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": "0.5"}, "cannot log 'a': it is a str, not a number"),
        ({"a": torch.zeros(2)}, "cannot log 'a': it is a Tensor"),
        ({"a": None}, "cannot log 'a': it is a NoneType"),
        ({"a": numpy.zeros(0)}, "cannot log 'a': it is a ndarray"),
        ({"": 1}, "cannot name a figure ''"),
        ({1: 1}, "cannot name a figure 1"),
        ({"n" * (MAX_FIGURE_NAME_BYTES + 1): 1}, "1 to 128 bytes"),
        ([1.0], "was given a list"),
    ],
)
def test_what_is_no_figure_is_refused(data: Any, message: str) -> None:
    with pytest.raises(MisusedRun, match=message):
        checked(data, {})


def test_a_step_has_no_more_figures_than_can_be_sent_and_those_before_are_kept() -> None:
    figures = {str(number): 1.0 for number in range(MAX_FIGURES)}
    add(figures, {"0": 2.0})
    with pytest.raises(MisusedRun, match="more than 64 different names for one step, such as one more"):
        add(figures, {"one more": 1.0})
    assert len(figures) == MAX_FIGURES and figures["0"] == 2.0


def test_figures_are_reported_until_their_step_has_passed() -> None:
    logged = Logged()
    logged.before(0, {"a": 1.0})
    logged.before(2, {"b": 1.0})
    logged.before(2, {"b": 2.0, "c": 3.0})
    logged.applied(1, {"d": 4.0})
    assert logged.of_shards(2) == logged.of_shards(2) == {"b": 2.0, "c": 3.0}
    assert logged.of_shards(0) == {}, "forgotten, because a later step was asked for"
    assert logged.of_applied(2) == logged.of_applied(2) == [("d", 4.0)]
    assert logged.of_applied(3) == []
