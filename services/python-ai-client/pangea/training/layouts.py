"""How gradients of parameters that are not float32 or not contiguous are stored in the flat vector, and restored."""

from __future__ import annotations

import torch


def real_shape(tensor: torch.Tensor) -> torch.Size:
    """Returns the shape of a tensor as real numbers: a complex element is two of them."""
    return torch.Size((*tensor.shape, 2)) if tensor.is_complex() else tensor.shape


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor as real numbers, in shape `real_shape`."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def same_layout(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Returns values with the strides of a parameter of their shape: fused optimizers go through both alike."""
    if values.shape != parameter.shape or values.stride() == parameter.stride():
        return values
    return torch.empty_strided(parameter.shape, parameter.stride(), dtype=values.dtype, device=values.device).copy_(
        values
    )


def gradient_for(parameter: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Returns the gradient of a step as the parameter needs it.

    Args:
        parameter: of any layout.
        mean: float32, contiguous, in shape `real_shape(parameter)`.
    """
    if parameter.dtype is torch.float32 and parameter.stride() == mean.stride():
        return mean
    if parameter.is_complex():
        mean = torch.view_as_complex(mean)
    # bfloat16: the mean over the step is computed in float32, and rounded once.
    return same_layout(mean.to(parameter.dtype), parameter)


def overlaps_itself(tensor: torch.Tensor) -> bool:
    """Returns whether two elements may be at the same address, as in an expanded tensor."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride <= reach:
            return True
        reach += (size - 1) * stride
    return False
