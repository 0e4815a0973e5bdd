"""Gradient sums on an accelerator: added there in the order of the tree, and copied when they are sent.

An addition of two numbers in float32 has the same bits on every device, unless its result is not a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pangea.training.devices.copying import copy_large
from pangea.training.devices.device import Device
from pangea.training.sums import GradientSum, Layout


class DeviceLayout(Layout):
    """A layout whose sums have one part, a flat vector on the device.

    Args:
        device: that the gradients are computed on.
        elements: of the vector.
    """

    def __init__(self, device: Device, elements: int) -> None:
        super().__init__([elements])
        self._device = device
        self._copies: list[torch.Tensor] | None = None  # pinned memory for a sum

    @torch.no_grad()
    def add(self, sums: Sequence[GradientSum]) -> GradientSum:
        """Returns sums[0] + (sums[1] + ...), in their memory: none of them may be used any more."""
        *others, last = (self._on_device(operand) for operand in sums)
        for operand in reversed(others):
            last = torch.add(operand, last, out=last)
        return GradientSum(self, [last])

    def add_into(self, sums: Sequence[GradientSum], vector: torch.Tensor, digest: bool = False) -> GradientSum:
        """Returns sums[0] + (sums[1] + ...), copied to a vector [elements] of the CPU. The sums may not be used again.

        It waits for the copy. The vector is not hashed, with `digest` neither: that is done when it is submitted.
        """
        (total,) = self.add(sums).parts
        assert total is not None
        self._copies = self._device.to_host([total], self._copies).wait()
        copy_large(vector, self._copies[0])
        return GradientSum(self, (), vector)

    def _on_device(self, operand: GradientSum) -> torch.Tensor:
        if operand.vector is not None:
            return self._device.place(operand.vector)
        (part,) = operand.parts
        return torch.zeros(self.elements, device=self._device.torch_device) if part is None else part
