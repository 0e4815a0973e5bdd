"""The gradient of a step: the mean that the optimizer sees, in memory that is used again for each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pangea.training.devices.device import Device
from pangea.training.ownership import are_unreferenced, have_own_memory


class MeanGradient:
    """Divides the sum of a step into gradients of the parameters.

    The sum may be memory of another process, so it is only read. The gradients are views of one private vector, which
    the next step overwrites, unless the script still holds one of them: then they remain, and the next step gets new
    memory.

    Args:
        shapes: of the parameters, in the order of the flat vector.
        device: that the gradients are needed on, and divided on; default: the CPU.
    """

    def __init__(self, shapes: Sequence[torch.Size], device: Device | None = None) -> None:
        self._shapes, self._sizes = shapes, [shape.numel() for shape in shapes]
        self._device = Device() if device is None else device
        self._vector: torch.Tensor | None = None
        self._views: list[torch.Tensor] = []

    @torch.no_grad()
    def of(self, total: torch.Tensor, divisor: float) -> list[torch.Tensor]:
        """Returns the gradients of a step, one for each parameter.

        Args:
            total: flat float32, the sum over all shards.
            divisor: 0 if nothing counted; then the gradients are the sum, which is all zeros.
        """
        if self._device.computes_ahead:
            return self._split(self._of_device(total, divisor))
        vector = self._free_vector()
        if divisor == 0:
            vector.copy_(total)
        else:
            torch.div(total, divisor, out=vector)
        return self._views

    def _of_device(self, total: torch.Tensor, divisor: float) -> torch.Tensor:
        """Divides on the device, to the bits of the CPU."""
        vector = self._device.place(total)
        if divisor == 0:
            return vector
        # By a tensor: CUDA multiplies by the reciprocal of a number, which rounds twice.
        return vector.div_(torch.full((), divisor, dtype=torch.float32, device=vector.device))

    def _split(self, vector: torch.Tensor) -> list[torch.Tensor]:
        parts = torch.split(vector, self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _free_vector(self) -> torch.Tensor:
        if self._vector is None or not self._is_free(self._vector):
            self._vector = torch.empty(sum(self._sizes), dtype=torch.float32)
            self._views = self._split(self._vector)
        return self._vector

    def _is_free(self, vector: torch.Tensor) -> bool:
        """Returns whether nobody holds the gradients of an earlier step, or other tensors over their memory."""
        return all(are_unreferenced(self._views)) and have_own_memory([vector], sharing=1 + len(self._views))[0]
