"""The gradient of a step is divided into private memory, which the next step uses again unless the script holds it."""

from collections.abc import Callable

import pytest
import torch

from pangea.training.devices.delayed import Delayed
from pangea.training.mean import MeanGradient

SHAPES = [torch.Size((2, 3)), torch.Size(()), torch.Size((0,)), torch.Size((5,))]


def test_the_mean_has_the_bits_of_a_division_in_place_and_the_sum_is_only_read() -> None:
    mean = MeanGradient(SHAPES)
    for divisor in (7, 3.7, 1, 1e-3, 128):
        total = torch.randn(12) * 1e-37
        before = total.clone()
        gradients = mean.of(total, divisor)
        assert torch.equal(total.view(torch.int32), before.view(torch.int32))
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        assert torch.equal(flat.view(torch.int32), before.div_(divisor).view(torch.int32))
        assert [gradient.shape for gradient in gradients] == SHAPES


def test_a_division_on_a_device_has_the_bits_of_the_cpu() -> None:
    total = torch.randn(12) * torch.logspace(-42, 30, 12)
    for divisor in (7, 3.7, 1, 1e-3, 128, 0):
        gradients = [
            torch.cat([part.reshape(-1) for part in MeanGradient(SHAPES, device).of(total, divisor)])
            for device in (None, Delayed())
        ]
        assert torch.equal(gradients[0].view(torch.int32), gradients[1].view(torch.int32))


def test_without_anything_that_counts_the_gradient_is_zero() -> None:
    gradients = MeanGradient(SHAPES).of(torch.zeros(12), 0)
    assert not torch.cat([gradient.reshape(-1) for gradient in gradients]).any()


def test_memory_is_used_again() -> None:
    mean = MeanGradient(SHAPES)
    first = mean.of(torch.ones(12), 1)[0].data_ptr()
    assert mean.of(torch.ones(12), 2)[0].data_ptr() == first


@pytest.mark.parametrize(
    "hold",
    [lambda gradient: gradient, lambda gradient: gradient.detach(), lambda gradient: gradient[1:].numpy()],
    ids=["itself", "alias", "array"],
)
def test_what_the_script_holds_is_not_overwritten(hold: Callable[[torch.Tensor], object]) -> None:
    mean = MeanGradient(SHAPES)
    held = hold(mean.of(torch.ones(12), 1)[3])
    mean.of(torch.ones(12), 2)
    assert torch.as_tensor(held).eq(1.0).all()
    del held
    address = mean.of(torch.ones(12), 4)[3].data_ptr()
    assert mean.of(torch.ones(12), 5)[3].data_ptr() == address
