"""Gradient sums of shards, and what a model must be."""

import pytest
import torch
from torch import nn

from pangea.gradients import Parameters, UnsupportedModel


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def test_sums_of_shards_add_up_to_the_gradient_of_the_whole_batch() -> None:
    model = small_model()
    parameters = Parameters(model)
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    total = torch.zeros(parameters.elements)
    for part in (slice(0, 7), slice(7, 8), slice(8, 20)):
        total += parameters.gradient_sum(nn.functional.cross_entropy(model(x[part]), y[part]), len(y[part]))
    parameters.set_gradient(total, 20)
    together = [parameter.grad.clone() for parameter in parameters.trainable.values() if parameter.grad is not None]
    parameters.clear_gradients()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    for got, parameter in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad)


def test_a_frozen_parameter_has_no_part_and_an_unused_one_counts_as_zero() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "frozen": nn.Linear(2, 1), "unused": nn.Linear(2, 1, bias=False)})
    model["frozen"].requires_grad_(False)
    parameters = Parameters(model)
    assert [name for name, _, _ in parameters.specs()] == ["used.weight", "used.bias", "unused.weight"]
    gradient = parameters.gradient_sum(model["used"](torch.ones(4, 2)).mean(), 4)
    assert gradient.tolist() == [4.0, 4.0, 4.0, 0.0, 0.0]


def test_gradients_left_by_the_script_do_not_leak_into_a_shard() -> None:
    model = small_model()
    parameters = Parameters(model)
    x = torch.randn(4, 6)
    clean = parameters.gradient_sum(model(x).mean(), 4)
    model(x).sum().backward()
    assert torch.equal(parameters.gradient_sum(model(x).mean(), 4), clean)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2).double(), "weight is torch.float64"),
        (nn.Linear(2, 2).requires_grad_(False), "no trainable parameter"),
        (nn.Linear(2, 2, device="meta"), "weight is on meta"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        Parameters(model)


def test_a_sparse_gradient_is_refused_by_name() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    with pytest.raises(UnsupportedModel, match="gradient of weight is sparse"):
        Parameters(model).gradient_sum(model(torch.tensor([1, 2])).mean(), 2)


def test_the_hash_sees_every_bit_of_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameters = Parameters(model)
    before = parameters.hash()
    assert before == parameters.hash()
    with torch.no_grad():
        model[1].running_mean[1] = -0.0
    assert parameters.hash() != before, "0.0 and -0.0 differ in bits"
