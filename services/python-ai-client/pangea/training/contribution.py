"""A shard's contribution, whose losses are on an accelerator on their way to the CPU while the next one is computed."""

from __future__ import annotations

from dataclasses import dataclass

from pangea.training.devices.device import HostCopy
from pangea.training.sums import GradientSum


@dataclass(frozen=True)
class Contribution:
    """The gradient sum and the losses of a shard.

    Attributes:
        total: not to be read before the losses have arrived.
        losses: scalars.
    """

    total: GradientSum
    losses: HostCopy

    def arrived(self) -> tuple[GradientSum, list[float]]:
        """Returns the gradient sum and the losses, when they are computed."""
        return self.total, [float(loss) for loss in self.losses.wait()]
