"""What a step changes besides the model and the optimizers has to be in checkpoints, or is refused by name."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pangea.errors import BrokenPromise
from pangea.training.gradients import Parameters
from pangea.training.optimizer import Step, StepFunction, Training
from pangea.training.unsaved import DictState


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def training(one: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Training:
    return Training(Parameters(one), optimizer or torch.optim.Adam(one.parameters()))


def step(own: Training, number: int = 0, *, ends_epoch: bool = False) -> None:
    total = torch.ones(own.parameters.elements)
    own.apply(total, 4, 1.0, step=Step(number, 0, ends_epoch, 4, 0.25))


def steps(own: Training, count: int) -> None:
    for number in range(count):
        step(own, number)


def average(student: nn.Module, teacher: nn.Module) -> None:
    with torch.no_grad():
        for mine, its in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(0.9).add_(its, alpha=0.1)


def of_script(function: Any) -> StepFunction:
    """A function as a script has it: what belongs to Pangea is not looked into."""
    function.__module__ = "train"
    return cast(StepFunction, function)


class Shadow:
    """An average as it is often written: a dict of tensors that are replaced."""

    __module__ = "train"

    def __init__(self, student: nn.Module) -> None:
        self.student = student
        self.weights = {name: value.clone() for name, value in student.state_dict().items()}

    def update(self, _: Step) -> None:
        for name, value in self.student.state_dict().items():
            self.weights[name] = 0.9 * self.weights[name] + 0.1 * value


def closure(student: nn.Module) -> StepFunction:
    teacher = copy.deepcopy(student)
    return of_script(lambda _: average(student, teacher))


def by_data(student: nn.Module) -> StepFunction:
    teacher = copy.deepcopy(student)

    def function(_: Step) -> None:
        for mine, its in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.data.lerp_(its.data, 0.1)

    return of_script(function)


def partial(student: nn.Module) -> StepFunction:
    teacher = copy.deepcopy(student)
    return functools.partial(cast(Any, of_script(lambda its, _: average(student, its))), teacher)


def method(student: nn.Module) -> StepFunction:
    of_script(Shadow.update)
    return Shadow(student).update


def generator(_student: nn.Module) -> StepFunction:
    own = random.Random(0)
    return of_script(lambda _: own.random())


def scheduler(student: nn.Module) -> StepFunction:
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD(student.parameters(), 0.1))
    return of_script(lambda _: plateau.step(1.0))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (closure, r"changes teacher\.0\.weight, .*state=\{'teacher': teacher\}"),
        (by_data, r"changes teacher\.0\.weight, "),
        (partial, r"changes argument 1\.0\.weight, "),
        (method, r"changes Shadow\.weights\['0\.weight'\], "),
        (generator, "changes own, "),
        (scheduler, "changes plateau, "),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_a_function_changes_unsaved_is_named(
    function: Callable[[nn.Module], StepFunction], named: str, before: bool
) -> None:
    student = model()
    own = training(student)
    (own.before if before else own.after).append(function(student))
    kind = "before" if before else "after"
    with pytest.raises(BrokenPromise, match=rf"the function of run.{kind}_step \(unsaved_test.py, line \d+\) {named}"):
        # Before the first step, a copy and its average are the same.
        steps(own, 2)


def test_what_is_saved_or_does_not_change_is_not_refused() -> None:
    student = model()
    own = training(student)
    teacher, constant, counts, losses = copy.deepcopy(student), torch.ones(3), {"best": torch.ones(1)}, [0.5]

    def function(current: Step) -> None:
        average(student, teacher)
        counts["best"] = torch.full((1,), current.loss * float(constant.sum()))
        losses.append(current.loss)
        student.train()

    own.after.append(of_script(function))
    own.state.update(teacher=teacher, counts=DictState(counts))
    for number in range(5):
        step(own, number, ends_epoch=True)
    assert losses[1:] == [0.25] * 5


def test_the_model_and_its_optimizer_may_be_changed() -> None:
    student = model()
    own = training(student)
    wrapped: dict[str, Any] = {
        "students": [student],
        "optimizer": own.optimizer,
        "view": next(student.parameters()).data[0],
    }

    def function(_: Step) -> None:
        for parameter in wrapped["students"][0].parameters():
            parameter.data.clamp_(-0.1, 0.1)
        wrapped["optimizer"].param_groups[0]["lr"] *= 0.5

    own.after.append(of_script(function))
    step(own)


def test_what_a_module_of_the_model_makes_anew_is_not_refused() -> None:
    student = model()
    layer: Any = student[0]
    prune.identity(layer, "weight")  # type: ignore[no-untyped-call]
    own = training(student)
    own.after.append(of_script(lambda _: prune.l1_unstructured(layer, "weight", 0.5)))  # type: ignore[no-untyped-call]
    own.apply(torch.zeros(own.parameters.elements), 4, 1.0)
    assert sorted(layer.weight_mask.flatten().tolist()) == [0, 0, 0, 1, 1, 1]


def test_the_promise_may_be_waived() -> None:
    student = model()
    told: list[str] = []
    own = training(student)
    own.parameters.on_broken_promise = told.append
    own.after.append(closure(student))
    step(own)
    assert len(told) == 1 and "teacher" in told[0]


def test_what_happens_at_the_end_of_an_epoch_is_seen_there() -> None:
    student = model()
    own = training(student)
    update = closure(student)
    own.after.append(of_script(lambda current: update(current) if current.ends_epoch else None))
    for number in range(4):
        step(own, number)
    with pytest.raises(BrokenPromise, match="changes teacher"):
        step(own, 4, ends_epoch=True)


class Lookahead(torch.optim.SGD):
    """Slow weights in the optimizer, outside of its state."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.slow = [parameter.detach().clone() for parameter in self.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        for slow, fast in zip(self.slow, self.param_groups[0]["params"], strict=True):
            slow.lerp_(fast, 0.5)
            fast.copy_(slow)


class Counting(torch.optim.SGD):
    """Steps are counted in an attribute."""

    count = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.count = self.count + 1
        super().step(closure)


class Saving(Counting):
    """The count is saved."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "count": self.count}


@pytest.mark.parametrize(
    ("kind", "named"), [(Lookahead, r"Lookahead\.step\(\) changes self\.slow\[0\]"), (Counting, r"changes self\.count")]
)
def test_what_an_optimizer_keeps_outside_of_its_state_is_named(kind: type[torch.optim.SGD], named: str) -> None:
    student = model()
    own = training(student, kind(student.parameters(), lr=0.1) if kind is Counting else kind(student.parameters()))
    with pytest.raises(BrokenPromise, match=named):
        steps(own, 2)


def test_an_optimizer_that_saves_what_it_counts_is_not_refused() -> None:
    student = model()
    own = training(student, Saving(student.parameters(), lr=0.1))
    for number in range(3):
        step(own, number)


def test_a_hook_for_checkpoints_is_not_called_by_steps() -> None:
    one = model()
    optimizer, called = torch.optim.Adam(one.parameters()), list[int]()
    own = training(one, optimizer)
    optimizer.register_state_dict_pre_hook(lambda _: called.append(1))
    own.after.append(lambda _: None)
    steps(own, 4)
    assert not called
