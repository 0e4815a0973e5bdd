"""A scheduler that is made for the steps of the run has their rates, also when a run gets more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pangea.training.gradients import Parameters
from pangea.training.optimizer import Training, UnsupportedOptimizer
from pangea.training.schedule import doubt
from pangea.training.snapshot import BadSnapshot, Position


@dataclass(frozen=True)
class Steps:
    steps: int
    steps_per_epoch: int = 4


def one_cycle(optimizer: torch.optim.Optimizer, data: Any) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=data.steps)


def warm_cosine(optimizer: torch.optim.Optimizer, data: Any) -> lr_scheduler.LRScheduler:
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=data.steps_per_epoch)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, data.steps - data.steps_per_epoch)
    return lr_scheduler.SequentialLR(optimizer, [warm, cosine], [data.steps_per_epoch])


MAKERS = [one_cycle, warm_cosine]


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(3, 2)


def training(scheduler: Any, steps: int | None) -> Training:
    """The state at the join of a run, with `steps` in all; None for a scheduler that was made before."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    made = Training(Parameters(model), optimizer, scheduler if steps is not None else scheduler(optimizer))
    if steps is not None:
        made.make_schedulers(Steps(steps))
    made.guard()
    return made


def trained(one: Training, steps: int) -> list[float]:
    """The rates of the next steps."""
    rates = []
    for _ in range(steps):
        rates.append(float(one.optimizer.param_groups[0]["lr"]))
        one.apply(torch.ones(one.parameters.elements), 4, 1.0)
    one.unguard()
    return rates


@pytest.mark.parametrize("make", MAKERS)
def test_the_rates_are_those_of_a_scheduler_that_was_made_for_as_many_steps(make: Any) -> None:
    given = training(lambda optimizer: make(optimizer, Steps(12)), None)
    assert trained(training(make, 12), 12) == trained(given, 12)


@pytest.mark.parametrize("make", MAKERS)
def test_a_worker_that_joins_late_continues_with_the_same_rates(make: Any) -> None:
    alone, first, second = (training(make, 12) for _ in range(3))
    expected = trained(alone, 12)
    trained(first, 5)
    second.load(first.encode(Position(5, 0, 8, 4)))
    assert trained(second, 7) == expected[5:]


@pytest.mark.parametrize("make", MAKERS)
def test_a_run_with_more_steps_than_its_schedule_is_refused_or_has_that_for_its_steps(make: Any) -> None:
    first, longer, alone = training(make, 12), training(make, 20), training(make, 20)
    trained(first, 5)
    state = first.encode(Position(5, 0, 8, 4))
    with pytest.raises(BadSnapshot, match=r"made for 12 steps, but the run has 20 now; .* --take-changes"):
        training(make, 20).load(state)
    longer.load(state, take_changes=True)
    assert trained(longer, 15) == pytest.approx(trained(alone, 20)[5:], rel=1e-12)


def test_a_run_may_change_to_a_scheduler_that_is_made() -> None:
    first, second, alone = (
        training(lambda one: lr_scheduler.StepLR(one, 2), None),
        *(training(one_cycle, 12) for _ in range(2)),
    )
    trained(first, 3)
    second.load(first.encode(Position(3, 0, 8, 4)), take_changes=True)
    assert trained(second, 9) == pytest.approx(trained(alone, 12)[3:], rel=1e-12)


def test_what_cannot_be_a_scheduler_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedOptimizer, match=r"returned a NoneType; it must return a scheduler of the optimizer"):
        training(lambda optimizer, data: None, 12)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(UnsupportedOptimizer, match="scheduler 1 is a function, but there are 1 optimizers"):
        Training(Parameters(model), optimizer, [None, one_cycle])
    with pytest.raises(UnsupportedOptimizer, match="both scheduler and rate are given"):
        Training(Parameters(model), optimizer, one_cycle, rate=lambda step: 0.1)


def test_of_several_optimizers_each_has_its_own() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    optimizers = [torch.optim.SGD(layer.parameters(), 0.05) for layer in model]
    made = Training(Parameters(model), optimizers, [None, one_cycle])
    made.make_schedulers(Steps(12))
    assert made.schedulers[0] is None and isinstance(made.schedulers[1], lr_scheduler.OneCycleLR)
    assert made.optimizers[0].param_groups[0]["lr"] == 0.05
    assert made.optimizers[1].param_groups[0]["lr"] == pytest.approx(0.1 / 25)


@pytest.mark.parametrize(
    ("make", "odd"),
    [
        (lambda one: lr_scheduler.CosineAnnealingLR(one, 3), "T_max=3, but the run has 60 steps, so the rate rises"),
        (lambda one: lr_scheduler.CosineAnnealingLR(one, 60), None),
        (lambda one: lr_scheduler.OneCycleLR(one, 0.1, total_steps=59), "total_steps=59, but the run has 60 steps"),
        (lambda one: lr_scheduler.StepLR(one, 1, 0.5), "multiplies the rate by 0.5 60 times"),
        (lambda one: lr_scheduler.StepLR(one, 20, 0.1), None),
        (lambda one: lr_scheduler.ExponentialLR(one, 0.99), None),
        (lambda one: lr_scheduler.MultiStepLR(one, [1, 2]), "its last milestone at step 2, within the first epoch"),
        (lambda one: lr_scheduler.MultiStepLR(one, [10, 40]), None),
    ],
)
def test_a_scheduler_that_seems_to_be_built_for_epochs_is_doubted(make: Any, odd: str | None) -> None:
    found = doubt(make(torch.optim.SGD(network().parameters(), 0.1)), Steps(60, 20))
    assert (odd is None and found is None) or (odd is not None and found is not None and odd in found)


def test_a_scheduler_that_has_no_more_steps_says_what_to_write() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ended = Training(Parameters(model), optimizer, lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2))
    with pytest.raises(UnsupportedOptimizer, match=r"OneCycleLR cannot make step 1 of the run: .* total_steps=data"):
        trained(ended, 3)
