"""Applies a function to every tensor of a batch, whatever contains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch


def map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Returns a copy of nested dicts, lists, tuples, named tuples and dataclasses with `function` of each tensor.

    Anything else is returned as it is.
    """
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return _copy_of_mapping(value, {key: map_tensors(item, function) for key, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, function) for item in value))
    if type(value) in (list, tuple):
        return type(value)(map_tensors(item, function) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: map_tensors(item, function) for name, item in given.items()})
    return value


def _copy_of_mapping(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Returns a mapping of the same type with these items; a plain dict where the type cannot be made from one."""
    if type(value) is dict:
        return items
    try:
        return type(value)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


_ALIGNMENT = 64


def settle(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor with the memory layout that it also has after a transfer between processes.

    Some kernels compute different bits for memory that is aligned differently. So memory that does not start at a
    multiple of 64 bytes, as that of arrays and views often does, is copied, with the same strides; and a tensor some of
    whose elements share memory (`expand`) becomes a plain one.
    """
    plain = type(tensor) is torch.Tensor and tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized:
        return tensor
    if any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        tensor = tensor.contiguous()
    if tensor.data_ptr() % _ALIGNMENT == 0:
        return tensor
    aligned = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return aligned.copy_(tensor.detach()).requires_grad_(tensor.requires_grad)
