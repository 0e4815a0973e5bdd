"""Sums that are added on a device have the bits of those that are added on the CPU."""

import torch

from pangea.training.device_sums import DeviceLayout
from pangea.training.devices.delayed import Delayed
from pangea.training.sums import GradientSum, Layout

ELEMENTS = 7


def values(seed: int) -> torch.Tensor:
    """Returns numbers of very different size, some of them denormal, and zeros of both signs."""
    found = torch.randn(ELEMENTS, generator=torch.Generator().manual_seed(seed))
    return found * torch.tensor([1e-40, 1e-20, 1.0, 1e20, 1e38, 0.0, -0.0])


def sums(layout: Layout, count: int) -> list[GradientSum]:
    """Returns sums of which the second has no part."""
    return [GradientSum(layout, [None if number == 1 else values(number)]) for number in range(count)]


def added(layout: Layout, count: int) -> torch.Tensor:
    return layout.add(sums(layout, count)).flat().view(torch.int32)


def test_a_sum_has_the_bits_of_the_cpu() -> None:
    layout = DeviceLayout(Delayed(), ELEMENTS)
    for count in range(1, 6):
        expected = torch.empty(ELEMENTS)
        on_cpu = Layout([ELEMENTS])
        on_cpu.add_into(sums(on_cpu, count), expected)
        vector = torch.empty(ELEMENTS)
        assert layout.add_into(sums(layout, count), vector).flat() is vector
        assert torch.equal(vector.view(torch.int32), expected.view(torch.int32))
        if count > 1:
            assert torch.equal(added(layout, count), expected.view(torch.int32))


def test_sums_in_memory_of_the_cpu_are_added_as_well() -> None:
    layout = DeviceLayout(Delayed(), ELEMENTS)
    first, second = torch.empty(ELEMENTS), torch.empty(ELEMENTS)
    held = layout.add_into(sums(layout, 1), first)
    total = layout.add_into([held, GradientSum(layout, [values(3)])], second).flat()
    assert torch.equal(total, values(0) + values(3)) and torch.equal(first, values(0))


def test_a_sum_without_any_part_is_zero() -> None:
    layout = DeviceLayout(Delayed(), ELEMENTS)
    assert torch.equal(layout.zeros().flat().view(torch.int32), torch.zeros(ELEMENTS, dtype=torch.int32))
