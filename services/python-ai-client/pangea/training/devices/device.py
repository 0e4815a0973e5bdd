"""What a run needs of the device that a model computes on. The CPU is the simplest: nothing has to be copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class HostCopy:
    """Tensors on their way to the CPU.

    Args:
        tensors: on the CPU; their content is undefined until `wait`.
        arrived: waits until the content is complete; None if it is.
    Attributes:
        tensors, arrived: these.
    """

    def __init__(self, tensors: list[torch.Tensor], arrived: Callable[[], None] | None = None) -> None:
        self.tensors, self.arrived = tensors, arrived

    def wait(self) -> list[torch.Tensor]:
        """Returns the tensors, with their content."""
        if self.arrived is not None:
            self.arrived()
            self.arrived = None
        return self.tensors


class Device:
    """The CPU, and the base of all devices.

    Attributes:
        torch_device: of the model's tensors.
        computes_ahead: whether calls return before the result is there, so that the CPU should not wait for it.
        forks: whether a child process can compute with it.
    """

    computes_ahead = False
    forks = True

    def __init__(self, torch_device: torch.device | None = None) -> None:
        self.torch_device = torch.device("cpu") if torch_device is None else torch_device

    def to_host(self, tensors: Sequence[torch.Tensor], into: Sequence[torch.Tensor] | None = None) -> HostCopy:
        """Starts to copy tensors of the device to the CPU; those of the CPU itself are not copied.

        They may be dropped at once, but not changed before the copy was waited for.

        Args:
            tensors: of the device.
            into: what an earlier call returned for tensors of these shapes, to be written again; default: new memory.
        """
        return HostCopy(list(tensors))

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns a tensor of the CPU on the device, without waiting for work that the device has still to do.

        The given tensor may be changed or dropped at once. Work that is queued from now on sees its content.
        """
        return tensor

    def describe(self) -> str:
        """Returns what affects the bits of its results: hardware, driver, libraries, settings. Empty for the CPU."""
        return ""
