"""A shard that a child process computes before all others is compared with the result of this process, in order."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pangea.errors import BrokenPromise
from pangea.training.rehearsal import FIRST_STEPS, Plan, Rehearsal, Result, digests
from pangea.training.trace import OutputTrace

NAMES, SIZES = ["weight", "bias"], [6, 2]


def result(value: float) -> Result:
    return Result(value.hex(), digests(torch.full((8,), value), SIZES))


def rehearsed(child: Callable[[Rehearsal], None], expected: Result) -> str | None:
    """Runs `child` in the child process and compares its result."""
    rehearsal = Rehearsal(4, 3, NAMES, None)
    if rehearsal.fork():
        try:
            child(rehearsal)
        finally:
            os._exit(7)
    rehearsal.set_expected(expected)
    return rehearsal.compare()


def test_equal_results_pass() -> None:
    assert rehearsed(lambda rehearsal: rehearsal.send_result(result(0.1)), result(0.1)) is None


def test_a_different_result_is_reported_with_losses_tensors_and_causes() -> None:
    with pytest.raises(BrokenPromise) as raised:
        rehearsed(lambda rehearsal: rehearsal.send_result(result(0.25)), result(0.5))
    text = str(raised.value)
    assert "the loss of shard 3 of step 4 depends on what was computed before it" in text
    assert "the loss is 0.5, before them it is 0.25" in text
    assert "2 of 2 tensors differ: weight, bias" in text
    assert "batch.torch_generator()" in text and "pangea doctor SCRIPT" in text


def test_only_the_gradient_may_differ() -> None:
    other = Result(result(0.5).loss, digests(torch.tensor([0.5] * 7 + [0.25]), SIZES))
    with pytest.raises(BrokenPromise, match="the gradient of shard 3 of step 4 .*1 of 2 tensors differ: bias"):
        rehearsed(lambda rehearsal: rehearsal.send_result(other), result(0.5))


def test_losses_are_compared_if_the_child_cannot_compute_gradients() -> None:
    assert rehearsed(lambda rehearsal: rehearsal.send_result(Result(result(0.5).loss)), result(0.5)) is None
    with pytest.raises(BrokenPromise):
        rehearsed(lambda rehearsal: rehearsal.send_result(Result(result(0.25).loss)), result(0.5))


def kill_child(_rehearsal: Rehearsal) -> None:
    os.kill(os.getpid(), 9)


def test_a_child_without_a_result_is_inconclusive() -> None:
    assert rehearsed(lambda rehearsal: rehearsal.fail("no data"), result(1.0)) == "no data"
    assert rehearsed(kill_child, result(1.0)) == "no answer"


def test_a_child_that_hangs_is_killed_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pangea.training.rehearsal._MIN_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("pangea.training.rehearsal._TIMEOUT_FACTOR", 0.0)
    started = time.monotonic()
    assert rehearsed(lambda _: signal.pause(), result(1.0)) == "no answer"
    assert time.monotonic() - started < 60
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_first_leases_are_rehearsed_and_later_the_given_fraction() -> None:
    plan = Plan(seed=5, fraction=0.01)
    assert [plan.should_rehearse(step, 8) for step in range(FIRST_STEPS)] == [True] * FIRST_STEPS
    chosen = [step for step in range(FIRST_STEPS, 4000) if plan.should_rehearse(step, 8)]
    # A rehearsal covers one of eight shards, so 8 % of the leases are rehearsed to cover 1 % of the shards.
    assert 0.06 < len(chosen) / 4000 < 0.10
    again = Plan(seed=5, fraction=0.01)
    assert [step for step in range(4000) if again.should_rehearse(step, 8)][FIRST_STEPS:] == chosen
    never = Plan(seed=5, fraction=0.0)
    assert not any(never.should_rehearse(step, 8) for step in range(100))


class Stateful(nn.Module):
    """A module whose output depends on its previous input."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.last
        self.last = x.mean().detach().reshape(1)
        return y


def test_a_trace_names_the_first_module_that_differs() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Stateful(), nn.ReLU())
    trace = OutputTrace(model)

    def entries(x: torch.Tensor) -> list[tuple[str, str, str]]:
        trace.start()
        model(x)
        trace.stop()
        return trace.entries

    x = torch.ones(3, 2)
    first, second = entries(x), entries(x)
    rehearsal = Rehearsal(0, 0, NAMES, trace)
    with pytest.raises(BrokenPromise, match="1 is the first module whose output differs, from equal inputs"):
        rehearsal._raise_if_different(Result("0x1p+0", None, first), Result("0x1.8p+0", None, second))
    with pytest.raises(BrokenPromise, match="the input of 0 already differs"):
        rehearsal._raise_if_different(Result("0x1p+0", None, first), Result("0x1.8p+0", None, entries(2 * x)))
