"""A shard's contribution, which on an accelerator is on its way to the CPU while the next shard is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pangea.training.devices.device import Device, HostCopy
from pangea.training.sums import GradientSum, Layout


@dataclass(frozen=True)
class Contribution:
    """The parts of a flat vector and the losses of a shard.

    Attributes:
        present: for each part, whether it is in `copy`; the others are +0.0 everywhere.
        copy: one vector with the present parts and the losses; or the parts themselves, and then the losses.
        sizes: of the present parts, if they are in one vector; else None.
    """

    layout: Layout
    present: Sequence[bool]
    copy: HostCopy
    sizes: Sequence[int] | None = None

    def arrived(self) -> tuple[GradientSum, list[float]]:
        """Returns the gradient sum and the losses, when they are on the CPU."""
        count = sum(self.present)
        tensors = self.copy.wait()
        if self.sizes is None:
            parts, losses = tensors[:count], [float(loss) for loss in tensors[count:]]
        else:
            parts, losses = list(torch.split(tensors[0], list(self.sizes))), tensors[1].tolist()
        found = iter(parts)
        return GradientSum(self.layout, [next(found) if there else None for there in self.present]), losses


def contribution(
    device: Device, layout: Layout, parts: Sequence[torch.Tensor | None], losses: Sequence[torch.Tensor]
) -> Contribution:
    """Starts to copy a contribution to the CPU; on the CPU, its parts stay where they are.

    Args:
        device: that the parts and the losses are on.
        layout: of the flat vector.
        parts: contiguous, float32; None for a part that is +0.0 everywhere.
        losses: scalars, float64.
    """
    present = [part is not None for part in parts]
    there = [part for part in parts if part is not None]
    if not device.computes_ahead:
        return Contribution(layout, present, device.to_host([*there, *losses]))
    # One copy of one vector: each of many small ones would cost as much as a large one.
    vector = torch.cat([part.reshape(-1) for part in there])
    scalars = torch.stack([loss.reshape(()) for loss in losses]) if losses else vector.new_empty(0)
    return Contribution(layout, present, device.to_host([vector, scalars]), [part.numel() for part in there])
