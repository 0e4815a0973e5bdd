"""Runs backward from a loss times its weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def backward(loss: torch.Tensor, weight: float, only: Sequence[torch.nn.Parameter] | None = None) -> None:
    """Computes the gradient of the loss times its weight.

    Where the loss can represent the weight, the gradient of their product with respect to the loss is exactly the
    weight, so backward starts with it instead of computing it. Where it cannot (0.1, or 257 in bfloat16), the product
    decides how the weight is rounded.

    Args:
        loss: scalar.
        weight: not 0.
        only: parameters that get a gradient; default: all.
    """
    inputs = None if only is None else list(only)
    if inputs == []:
        return
    factor = torch.tensor(weight, dtype=loss.dtype, device=loss.device)
    # Compared on the CPU: a comparison on an accelerator would wait for it.
    represented = factor if factor.is_cpu else torch.tensor(weight, dtype=loss.dtype)
    if represented.item() == weight:
        loss.backward(gradient=factor, inputs=inputs)  # type: ignore[no-untyped-call]
    else:
        (loss * weight).backward(inputs=inputs)  # type: ignore[no-untyped-call]
