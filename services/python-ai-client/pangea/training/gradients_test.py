"""Gradient sums of shards, and the requirements on a model."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from pangea import _native
from pangea.errors import BrokenPromise
from pangea.training.devices.delayed import Delayed
from pangea.training.gradients import Parameters
from pangea.training.tensors import UnsupportedModel


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def test_sums_of_shards_add_up_to_the_gradient_of_the_whole_batch() -> None:
    model = small_model()
    parameters = Parameters(model)
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    total = torch.zeros(parameters.elements)
    for part in (slice(0, 7), slice(7, 8), slice(8, 20)):
        total += parameters.gradient_sum(nn.functional.cross_entropy(model(x[part]), y[part]), len(y[part])).flat()
    parameters.begin_step(total, 20)
    together = [parameter.grad.clone() for parameter in parameters.trainable.values() if parameter.grad is not None]
    parameters.end_step()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    for got, parameter in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad)


def test_a_frozen_parameter_is_left_out_and_an_unused_one_is_distinguished_from_a_zero_gradient() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "frozen": nn.Linear(2, 1), "unused": nn.Linear(2, 1, bias=False)})
    model["frozen"].requires_grad_(False)
    parameters = Parameters(model)
    assert parameters.specs() == [
        ("used.weight", "float32", (1, 2)),
        ("used.bias", "float32", (1,)),
        ("unused.weight", "float32", (1, 2)),
        ("pangea.used", "float32", (3,)),
    ]
    flat = parameters.gradient_sum(model["used"](torch.ones(4, 2)).mean(), 4).flat()
    assert flat.tolist() == [4.0, 4.0, 4.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    zeros = parameters.gradient_sum(0 * model["unused"](torch.ones(4, 2)).mean(), 4).flat()
    assert zeros.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    parameters.begin_step(flat, 4)
    assert torch.equal(model["used"].weight.grad, torch.ones(1, 2))
    assert model["unused"].weight.grad is None


def test_gradients_left_by_the_script_do_not_leak_into_a_shard() -> None:
    model = small_model()
    parameters = Parameters(model)
    x = torch.randn(4, 6)
    clean = parameters.gradient_sum(model(x).mean(), 4).flat()
    model(x).sum().backward()
    assert torch.equal(parameters.gradient_sum(model(x).mean(), 4).flat(), clean)


def expanded() -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(torch.ones(2, 1).expand(2, 2))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2).double(), r"weight is torch.float64; .*model.float\(\)"),
        (nn.Linear(2, 2).half(), "weight is torch.float16; .*torch.autocast"),
        (nn.Linear(2, 2).to(torch.complex128), "weight is torch.complex128; .*complex64"),
        (nn.DataParallel(nn.Linear(2, 2)), r"the model is a DataParallel.*\(model.module\)"),
        (expanded(), "elements of weight share memory"),
        (nn.Linear(2, 2).requires_grad_(False), "no trainable parameter"),
        (nn.Linear(2, 2, device="meta"), "weight is on meta"),
        (nn.LazyLinear(2), "weight has no shape yet; run one batch"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        Parameters(model)


def test_a_sparse_gradient_is_refused_by_name() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    with pytest.raises(UnsupportedModel, match="gradient of weight is sparse"):
        Parameters(model).gradient_sum(model(torch.tensor([1, 2])).mean(), 2)


def test_the_hash_depends_on_every_bit_of_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameters = Parameters(model)
    before = parameters.hash()
    assert before == parameters.hash()
    with torch.no_grad():
        model[1].running_mean[1] = -0.0
    assert parameters.hash() != before, "0.0 and -0.0 differ in bits"


class Meddling(nn.Module):
    """Changes its own tensors in the forward pass, as `change` says."""

    def __init__(self, change: Callable[["Meddling"], object]) -> None:
        super().__init__()
        self.weight, self.frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("mask", torch.zeros(2, dtype=torch.bool))
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * self.weight
        with torch.no_grad():
            self.change(self)
        return y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.weight.clamp_(0), "^the parameter weight was changed in the forward.*parametrize"),
        (lambda model: model.weight.data.clamp_(0.5, 0.75), "^the parameter weight was changed in the forward"),
        (lambda model: model.frozen.add_(1), "^the parameter frozen was changed"),
        (
            lambda model: setattr(model, "frozen", nn.Parameter(torch.ones(2), requires_grad=False)),
            "^the parameter frozen was changed",
        ),
        (lambda model: model.mask.fill_(True), "^the buffer mask"),
        (lambda model: model.frozen.requires_grad_(True), "^the parameter frozen was frozen when the model joined"),
    ],
)
def test_a_forbidden_change_in_a_forward_pass_is_named(change: Callable[[Meddling], object], message: str) -> None:
    parameters = Parameters(model := Meddling(lambda _: None))
    for _ in range(2):
        total = parameters.gradient_sum(model(torch.ones(3, 2)).mean(), 3).flat()
        parameters.begin_step(total, 3)
        torch.optim.SGD([model.weight], lr=0.1).step()
        parameters.end_step()
    model.change = change
    with pytest.raises(BrokenPromise, match=message):
        parameters.gradient_sum(model(torch.ones(3, 2)).mean(), 3)


def test_with_a_handler_a_change_is_reported_and_accepted() -> None:
    parameters = Parameters(model := Meddling(lambda model: model.weight.mul_(0.5)))
    reported: list[str] = []
    parameters.on_broken_promise = reported.append
    parameters.gradient_sum(model(torch.ones(3, 2)).mean(), 3)
    assert len(reported) == 1 and "the parameter weight" in reported[0]


def test_weights_make_a_step_the_mean_over_what_counts() -> None:
    model = small_model()
    parameters = Parameters(model)
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    y[3:9] = -100
    y[15:] = -100
    total, divisor = torch.zeros(parameters.elements), 0.0
    for part in (slice(0, 5), slice(5, 15), slice(15, 20)):
        weight = float((y[part] != -100).sum())
        total += parameters.gradient_sum(
            nn.functional.cross_entropy(model(x[part]), y[part]), len(y[part]), weight
        ).flat()
        divisor += weight
    assert divisor == 9.0, "the last part has only ignored targets, and its loss is NaN"
    parameters.begin_step(total, 20, divisor)
    together = [parameter.grad.clone() for parameter in parameters.trainable.values() if parameter.grad is not None]
    parameters.end_step()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    for got, parameter in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad)


def test_a_step_in_which_nothing_counts_changes_nothing() -> None:
    model = small_model()
    parameters = Parameters(model)
    flat = parameters.gradient_sum(
        nn.functional.cross_entropy(model(torch.randn(2, 6)), torch.tensor([-100, -100])), 2, 0.0
    ).flat()
    assert not flat.any()
    parameters.begin_step(flat, 2, 0.0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_memory_to_hash_of_a_device_is_written_again_and_complete_when_it_has_arrived() -> None:
    model = torch.nn.Linear(3, 2)
    parameters, addresses = Parameters(model, device=Delayed()), set[int]()
    for _ in range(2):
        with torch.no_grad():
            model.weight.add_(1.0)
        memory, arrived = parameters.memory()
        assert arrived is not None and _native.content_hash(memory) != parameters.hash()
        arrived()
        assert _native.content_hash(memory) == parameters.hash()
        addresses.add(np.frombuffer(memory[0], np.uint8).ctypes.data)
    assert len(addresses) == 1


def test_the_memory_to_hash_follows_tensors_that_move_and_values_that_change() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    parameters = Parameters(model)

    def hashed() -> bytes:
        memory, arrived = parameters.memory()
        assert arrived is None and _native.content_hash(memory) == parameters.hash()
        return parameters.hash()

    seen = {hashed()}
    with torch.no_grad():
        model[0].weight.add_(1.0)
        seen.add(hashed())
        model[0].weight.data = model[0].weight.data.clone().mul_(2.0)
        seen.add(hashed())
        model[1].running_mean = torch.full((4,), 3.0)[::2]  # not contiguous: copied each time
        seen.add(hashed())
        model[1].running_mean.add_(1.0)
        seen.add(hashed())
    assert len(seen) == 5
