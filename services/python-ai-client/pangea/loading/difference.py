"""Names the first place in which two batches differ, for messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import torch

from pangea.loading.canonical import Canonical


def first_difference(one: Any, other: Any, name: str = "batch.data") -> str:
    """Returns the innermost part whose canonical bytes differ, such as `batch.data['image']`; "" if there is none."""
    if _same(one, other):
        return ""
    for key, part, counterpart in _pairs(one, other):
        if (found := first_difference(part, counterpart, name + key)) != "":
            return found
    return name


def _same(one: Any, other: Any) -> bool:
    first, second = Canonical(one), Canonical(other)
    return first.structure == second.structure and all(
        numpy.array_equal(part, counterpart) for part, counterpart in zip(first.elements, second.elements, strict=True)
    )


def _pairs(one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yields the parts of two containers of the same kind; nothing if they are something else."""
    if type(one) is not type(other) or isinstance(one, (torch.Tensor, numpy.ndarray, str, bytes)):
        return
    if isinstance(one, Mapping):
        yield from ((f"[{key!r}]", one[key], other[key]) for key in one if key in other)
    elif names := _fields(one):
        yield from ((f".{name}", getattr(one, name), getattr(other, name)) for name in names)
    elif isinstance(one, (list, tuple)):
        yield from (
            (f"[{index}]", part, counterpart) for index, (part, counterpart) in enumerate(zip(one, other, strict=False))
        )


def _fields(value: Any) -> list[str]:
    """Returns the names of the fields of a dataclass or a named tuple."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return list(getattr(value, "_fields", ()))
