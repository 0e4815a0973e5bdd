"""Gradients that are taken over and added natively have the bits of copies that torch adds in pairs."""

import pytest
import torch

from pangea.training.bits import MODELS, Case, bits, copied_sum, difference
from pangea.training.determinism import configure_torch
from pangea.training.gradients import Parameters
from pangea.training.lease import Lease, ShardReport
from pangea.training.sums import GradientSum, VectorPool
from pangea.training.tree import Node


@pytest.fixture(autouse=True)
def configured_torch() -> None:
    configure_torch()


@pytest.mark.parametrize("seed", range(4 * len(MODELS)))
def test_a_random_lease_has_the_bits_of_the_reference(seed: int) -> None:
    case = Case.random(seed)
    assert not difference(case), case


def test_a_script_that_flushes_denormal_numbers_changes_nothing_in_who_adds() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    parameters = Parameters(model)
    smallest = torch.finfo(torch.float32).smallest_normal

    def roots(shards: list[int]) -> list[Node[GradientSum]]:
        lease = Lease(0, 0, 0, shards, frozenset(), VectorPool(parameters.elements))
        for shard in shards:
            # Gradients that are normal numbers, and whose sum is not.
            x = torch.full((1, 1), smallest * (1.5 if shard % 2 else -1.25))
            lease.record(ShardReport(shard, 1, 0.0, b"", 1.0), parameters.gradient_sum(model(x).sum(), 1))
        return lease.roots()

    expected = [bits(root.value.flat()) for root in roots([0, 1])]
    assert expected[0][0] == bits(torch.tensor(smallest * 0.25)) != 0
    assert torch.set_flush_denormal(True)
    try:
        flushed = [bits(root.value.flat()) for root in roots([0, 1])]
        assert (torch.tensor([1.5 * smallest]) - torch.tensor([1.25 * smallest])).item() == 0.0, "torch flushes"
    finally:
        torch.set_flush_denormal(False)
    assert all(torch.equal(one, other) for one, other in zip(flushed, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weight", [1.0, 3.0, 0.1, 1 / 3, 257.0, 2049.0, 16_777_217.0, 1e-3, 65_521.0, 5e-324, 1e-40])
def test_any_weight_scales_a_gradient_as_the_product_does(dtype: torch.dtype, weight: float) -> None:
    model = torch.nn.Linear(4, 3)
    x = torch.randn(5, 4)
    parameters = Parameters(model)

    def loss() -> torch.Tensor:
        return torch.as_tensor(model(x).square().mean()).to(dtype)

    expected = copied_sum(parameters, loss(), 5, weight)
    assert torch.equal(bits(parameters.gradient_sum(loss(), 5, weight).flat()), bits(expected))
