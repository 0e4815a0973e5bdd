"""A shard's contribution, whose losses are on an accelerator on their way to the CPU while the next one is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pangea.training.devices.device import HostCopy
from pangea.training.sums import GradientSum


class Contribution(NamedTuple):
    """The gradient sum and the losses of a shard.

    Attributes:
        total: not to be read before the losses have arrived.
        losses: numbers, or scalars on their way.
    """

    total: GradientSum
    losses: HostCopy | Sequence[float]

    def arrived(self) -> tuple[GradientSum, list[float]]:
        """Returns the gradient sum and the losses, when they are computed."""
        losses = self.losses.wait() if isinstance(self.losses, HostCopy) else self.losses
        return self.total, [float(loss) for loss in losses]
