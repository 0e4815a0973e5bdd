"""The device of a model, and the devices of this machine."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pangea.training.devices.accelerator import Accelerator
from pangea.training.devices.device import Device

# With queues as `Accelerator` needs them, and float64 for the changes of buffers.
KINDS = ("cpu", "cuda", "xpu")


def device_of(tensors: Iterable[torch.Tensor]) -> Device:
    """Returns the device that the tensors of a model are on; all of them are on one of `KINDS`."""
    first = next(iter(tensors)).device
    return Device() if first.type == "cpu" else Accelerator(first)


def device_at_hand() -> torch.device | None:
    """Returns the GPU that `model.to("cuda")` uses; None if there is none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
