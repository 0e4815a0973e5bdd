"""A device for tests that computes on the CPU, and is as late as a device may be.

What it copies arrives only when somebody waits for it, and is not a number before. So a test with it fails where a
result is read too early, and where something waits for each shard in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pangea.training.devices.device import Device, HostCopy


def _unreadable(tensor: torch.Tensor) -> torch.Tensor:
    return _spoil(torch.empty_like(tensor, memory_format=torch.contiguous_format))


def _spoil(copy: torch.Tensor) -> torch.Tensor:
    copy.view(-1).view(torch.uint8).fill_(0xFF)  # NaN, or a number that nothing expects
    return copy


class Delayed(Device):
    """See the module.

    Attributes:
        in_flight: copies that were started and not waited for.
        most_in_flight: the largest number of them so far.
    """

    computes_ahead = True
    forks = False

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = self.most_in_flight = 0

    def to_host(self, tensors: Sequence[torch.Tensor], into: Sequence[torch.Tensor] | None = None) -> HostCopy:
        """Returns copies that arrive when they are waited for."""
        # As the device would queue it: what is written to the tensors afterwards is not copied.
        sources = [tensor.detach().clone() for tensor in tensors]
        copies = [_unreadable(source) for source in sources] if into is None else list(into)
        for copy in copies if into is not None else []:
            _spoil(copy)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

        def arrive() -> None:
            self.in_flight -= 1
            for copy, source in zip(copies, sources, strict=True):
                copy.copy_(source)

        return HostCopy(copies, arrive)

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns a copy."""
        return tensor.clone()

    def describe(self) -> str:
        """Returns a name."""
        return "delayed"
