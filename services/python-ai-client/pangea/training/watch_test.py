"""A script that changes parameters or settings behind the run's back is detected, however it does so."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pangea.errors import BrokenPromise
from pangea.training.tensors import tensor_slots
from pangea.training.watch import ParameterWatch, SettingsWatch, checksum, device_checksum


def watched(model: nn.Module) -> ParameterWatch:
    return ParameterWatch([slot for slot, _ in tensor_slots(model, "_parameters")])


def by_data(model: nn.Linear) -> None:
    model.weight.data.clamp_(-0.01, 0.01)


def in_place(model: nn.Linear) -> None:
    with torch.no_grad():
        model.weight.mul_(0.5)


def assigned(model: nn.Linear) -> None:
    model.weight.data = model.weight.data.clone()


def replaced(model: nn.Linear) -> None:
    model.weight = nn.Parameter(torch.zeros(3, 4))


@pytest.mark.parametrize("change", [by_data, in_place, assigned, replaced])
@pytest.mark.parametrize(("where", "advice"), [("pass", "torch.nn.utils.parametrize"), ("loop", "run.after_step")])
def test_each_way_to_change_a_parameter_is_named(change: Callable[[nn.Linear], None], where: str, advice: str) -> None:
    model = nn.Linear(4, 3)
    watch = watched(model)
    watch.check(where, bytes_too=True)
    change(model)
    with pytest.raises(BrokenPromise, match=f"the parameter weight was changed .*{advice}"):
        watch.check(where, bytes_too=True)


def test_a_new_baseline_accepts_the_runs_own_changes() -> None:
    model = nn.Linear(4, 3)
    watch = watched(model)
    by_data(model)
    watch.record_baseline()
    watch.check("loop", bytes_too=True)


def test_a_change_through_data_is_detected_within_one_rotation_over_all_parameters() -> None:
    """After the first steps only a part is checked: about 1 MiB a step, in rotation."""
    model = nn.Sequential(*(nn.Linear(400, 400, bias=False) for _ in range(8)))  # 640 kB each
    watch = watched(model)
    for _ in range(8):
        watch.record_baseline()
    assert not watch.in_full
    looked_at = 0
    for _ in range(8):
        model[5].weight.data[0, 0] += 1.0
        try:
            watch.check("loop", bytes_too=True)
        except BrokenPromise:
            looked_at += 1
        watch.record_baseline()
    assert 1 <= looked_at < 8


def test_a_large_parameter_is_checked_piece_by_piece() -> None:
    model = nn.Linear(1024, 1024, bias=False)  # 4 MiB
    watch = watched(model)
    for _ in range(6):
        watch.record_baseline()
    found = 0
    for _ in range(4):
        model.weight.data[-1, -1] += 1.0
        try:
            watch.check("loop", bytes_too=True)
        except BrokenPromise:
            found += 1
        watch.record_baseline()
    assert found == 1


@pytest.mark.parametrize("checksum", [checksum, device_checksum])
@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(0),
        torch.ones(3, dtype=torch.bfloat16),
        torch.arange(12.0).reshape(3, 4).t(),
        torch.ones(5, dtype=torch.uint8),
        torch.tensor(2.5),
        torch.ones(3, dtype=torch.complex64),
    ],
)
def test_a_checksum_detects_any_single_change(
    value: torch.Tensor, checksum: Callable[[torch.Tensor], int | torch.Tensor]
) -> None:
    assert checksum(value) == checksum(value.clone())
    flat = value.contiguous().reshape(-1).view(torch.uint8)
    for index in range(flat.numel()):
        other = flat.clone()
        other[index] ^= 1
        assert checksum(other.view(value.dtype)) != checksum(value)


def optimizer() -> torch.optim.Optimizer:
    model = nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [{"params": [model.weight], "lr": torch.tensor(0.5)}, {"params": [model.bias]}]
    return torch.optim.Adam(groups, lr=0.1, foreach=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda groups: groups[1].update(lr=0.05),
            (
                "the learning rate of the optimizer's group 1 was changed in the loop, from 0.1 to 0.05; give"
                " pangea.join a scheduler, or rate="
            ),
        ),
        (lambda groups: groups[0]["lr"].fill_(0.25), "the learning rate of the optimizer's group 0"),
        (lambda groups: groups[0].update(betas=(0.8, 0.9)), "betas of the optimizer's group 0 .*run.before_step"),
        (
            lambda groups: groups[0].update(own=1),
            "own of the optimizer's group 0 was changed in the loop, from not set to 1",
        ),
        (lambda groups: groups[0]["params"].clear(), "the groups of the optimizer were changed"),
    ],
)
def test_a_changed_setting_of_the_optimizer_is_named(
    change: Callable[[list[dict[str, object]]], None], message: str
) -> None:
    adam = optimizer()
    watch = SettingsWatch(adam)
    watch.check()
    change(adam.param_groups)
    with pytest.raises(BrokenPromise, match=message):
        watch.check()
    watch.record_baseline()
    watch.check()
