"""Calls that the run makes itself are refused in the script; everything else in torch is left alone."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import lr_scheduler, swa_utils

from pangea.errors import BrokenPromise
from pangea.training.guards import Guards


class Parts:
    """The objects of a script."""

    def __init__(self) -> None:
        self.model = nn.Linear(3, 2)
        self.model(torch.ones(1, 3)).sum().backward()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.schedulers = [
            lr_scheduler.StepLR(self.optimizer, 1),
            lr_scheduler.ReduceLROnPlateau(self.optimizer),
            lr_scheduler.CosineAnnealingWarmRestarts(self.optimizer, 2),
        ]
        self.average = swa_utils.AveragedModel(self.model)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def guards(parts: Parts) -> Iterator[Guards]:
    guards = Guards(parts.model, [parts.optimizer])
    yield guards
    guards.remove()


CALLS: dict[str, tuple[Callable[[Parts], object], str]] = {
    "step": (lambda parts: parts.optimizer.step(), r"optimizer.step\(\) was called by the script"),
    "StepLR": (lambda parts: parts.schedulers[0].step(), r"StepLR.step\(\) was called .*scheduler=\.\.\."),
    "plateau": (lambda parts: parts.schedulers[1].step(1), r"ReduceLROnPlateau.step\(\)"),
    "restarts": (lambda parts: parts.schedulers[2].step(), r"CosineAnnealingWarmRestarts.step\(\)"),
    "average": (
        lambda parts: parts.average.update_parameters(parts.model),
        r"run.after_step\(lambda _: average.update_parameters\(model\), state={'average': average}\)",
    ),
    "clip": (
        lambda parts: torch.nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0),
        r"clip_grad_norm_\(\) .*clip_norm",
    ),
    "clip, imported by name": (
        lambda parts: clip_grad_norm_(parts.model.parameters(), 1.0),
        r"clip_grad_norm_\(\) .*clip_norm",
    ),
    "clip one": (lambda parts: torch.nn.utils.clip_grad_norm_(parts.model.weight, 1.0), r"clip_grad_norm_\(\)"),
    "clip values": (
        lambda parts: torch.nn.utils.clip_grad_value_(list(parts.model.parameters()), 1.0),
        r"clip_grad_value_\(\) .*run.before_step",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_by_the_script_is_refused_and_one_by_the_run_is_not(name: str, parts: Parts, guards: Guards) -> None:
    call, message = CALLS[name]
    with pytest.raises(BrokenPromise, match=message):
        call(parts)
    with guards.suspended():
        call(parts)
    with pytest.raises(BrokenPromise):
        call(parts)


@pytest.mark.parametrize("name", CALLS)
def test_removing_the_guards_restores_torch(name: str, parts: Parts) -> None:
    before = torch.nn.utils.clip_grad_norm_, lr_scheduler.LRScheduler.step, swa_utils.AveragedModel.update_parameters
    Guards(parts.model, [parts.optimizer]).remove()
    assert (
        torch.nn.utils.clip_grad_norm_,
        lr_scheduler.LRScheduler.step,
        swa_utils.AveragedModel.update_parameters,
    ) == before
    CALLS[name][0](parts)


@pytest.mark.usefixtures("guards")
def test_calls_for_another_model_are_left_alone() -> None:
    other = Parts()
    other.model(torch.ones(1, 3)).sum().backward()
    for call, _ in CALLS.values():
        call(other)
    clip_grad_value_(other.model.parameters(), 0.5)
    assert other.model.weight.grad is not None and float(other.model.weight.grad.abs().max()) <= 0.5


def test_with_a_handler_the_call_is_reported_and_made(parts: Parts) -> None:
    reported: list[str] = []
    guards = Guards(parts.model, [parts.optimizer], reported.append)
    try:
        parts.model(torch.ones(1, 3)).sum().backward()
        before = parts.model.weight.detach().clone()
        parts.optimizer.step()
    finally:
        guards.remove()
    assert len(reported) == 1 and not torch.equal(before, parts.model.weight)


@pytest.mark.usefixtures("guards")
def test_a_loss_is_not_scaled_unless_the_scaler_is_disabled() -> None:
    loss = torch.ones(())
    with pytest.raises(BrokenPromise, match=r"GradScaler\.scale\(\) .*torch.autocast\(dtype=torch.bfloat16\)"):
        GradScaler("cpu").scale(loss)
    assert GradScaler("cpu", enabled=False).scale(loss) == 1
