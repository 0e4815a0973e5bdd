"""Collects a shard's gradient sum into one flat vector, and gives an aggregate back to the model."""

from __future__ import annotations

from typing import Literal

import torch

from pangea.hashing import tensors_hash


class UnsupportedModel(ValueError):
    """The model cannot be trained in a run; the message names the tensor and the reason."""


class Parameters:
    """A model's state as a run sees it: trainable parameters in the order of `named_parameters`, then buffers.

    A gradient is one float32 vector over the trainable parameters in this order.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Args:
            model: on the CPU, with at least one trainable float32 parameter.
        Raises:
            UnsupportedModel: naming the tensor.
        """
        self.model = model
        self.trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not self.trainable:
            raise UnsupportedModel("the model has no trainable parameter; check requires_grad")
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.device.type != "cpu":
                raise UnsupportedModel(f"{name} is on {tensor.device}; move the model to the CPU")
        for name, parameter in self.trainable.items():
            if parameter.dtype != torch.float32:
                raise UnsupportedModel(f"{name} is {parameter.dtype}; gradients are added in float32, so trainable parameters must be float32")
            if not parameter.is_contiguous():
                raise UnsupportedModel(f"{name} is not contiguous in memory; store `parameter.data.contiguous()`")
        self.elements = sum(parameter.numel() for parameter in self.trainable.values())

    def specs(self) -> list[tuple[str, Literal["float32"], tuple[int, ...]]]:
        """(name, dtype, shape) of each trainable parameter, in gradient order."""
        return [(name, "float32", tuple(parameter.shape)) for name, parameter in self.trainable.items()]

    def hash(self) -> bytes:
        """SHA-256 over the bytes of all trainable parameters, then all buffers."""
        return tensors_hash([*self.trainable.values(), *(buffer for _, buffer in self.model.named_buffers())])

    def clear_gradients(self) -> None:
        """Forgets what backward left."""
        for parameter in self.trainable.values():
            parameter.grad = None

    def gradient_sum(self, mean_loss: torch.Tensor, samples: int) -> torch.Tensor:
        """Gradient of the loss summed (not averaged) over a shard, as one flat float32 vector [elements].

        Args:
            mean_loss: scalar; the mean of the loss over the shard's samples.
            samples: in the shard, at least 1.
        """
        self.clear_gradients()
        (mean_loss * samples).backward()  # type: ignore[no-untyped-call]
        flat = torch.empty(self.elements, dtype=torch.float32)
        offset = 0
        for name, parameter in self.trainable.items():
            place = flat[offset : offset + parameter.numel()]
            if parameter.grad is None:
                place.zero_()  # not used in this step
            elif parameter.grad.is_sparse:
                raise UnsupportedModel(f"the gradient of {name} is sparse; build the layer with sparse=False")
            else:
                place.copy_(parameter.grad.reshape(-1))
            offset += parameter.numel()
        self.clear_gradients()
        return flat

    def set_gradient(self, total: torch.Tensor, samples: int) -> None:
        """Makes every parameter's `grad` the gradient of the mean loss over a whole step.

        Args:
            total: flat float32 [elements], the sum over all samples; overwritten.
            samples: of the step.
        """
        total.div_(samples)
        offset = 0
        for parameter in self.trainable.values():
            parameter.grad = total[offset : offset + parameter.numel()].view(parameter.shape)
            offset += parameter.numel()
