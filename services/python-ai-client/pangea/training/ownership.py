"""Takes over the memory of gradients, so that it can be added to without a copy; or copies them.

Autograd hands a fresh tensor to `parameter.grad` without a copy, unless it knows of somebody else who holds it. It does
not know of everybody: a hook may have kept the gradient, a view of it may be another parameter's gradient, a function
of the script's own may have returned a part of memory that it uses again. Such a gradient is copied at once: nobody
else's memory is ever written, and nobody else changes what is still to be added.

All ways to share a tensor's memory within torch hold a reference: to the tensor, or to its storage. A tensor that has
no references beside those of this module has no other user. torch has no call for the references to a storage, so the
count is read from where C++ keeps it, after a check that it is there; without it, every gradient is copied.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from pangea.training.layouts import as_real
from pangea.training.tensors import UnsupportedModel

_log = logging.getLogger("pangea")

# Where a StorageImpl has its count of references: behind the pointer to its virtual functions.
_COUNT_OFFSET = 8


def _count_at(storage: torch.UntypedStorage) -> int:
    return ctypes.c_uint32.from_address(storage._cdata + _COUNT_OFFSET).value


def _is_count(count: Callable[[torch.UntypedStorage], int]) -> bool:
    """Returns whether `count` counts the references to a storage: its tensors, and its object in Python."""
    tensor = torch.zeros(3)
    storage = tensor.untyped_storage()
    counts = [count(storage)]
    for _ in range(5):
        aliases = [tensor.detach() for _ in range(len(counts))]
        counts.append(count(storage))
        del aliases
        counts.append(count(storage))
    return counts == [2, 3, 2, 5, 2, 7, 2, 9, 2, 11, 2]


@functools.cache
def storage_count() -> Callable[[torch.UntypedStorage], int] | None:
    """Returns the function that counts the references to a storage; None if this torch keeps the count elsewhere."""
    if _is_count(_count_at):
        return _count_at
    _log.warning(
        "torch %s does not keep the number of references to a tensor's memory where Pangea looks for it: every gradient"
        " is copied, which makes steps slower, but changes no bits",
        torch.__version__,
    )
    return None


def _references(objects: list[Any]) -> list[int]:
    return [sys.getrefcount(item) for item in objects]


# What `_references` counts for an object that only the list holds; it depends on how the interpreter passes arguments.
_HELD_BY_LIST = _references([object()])[0]


@functools.cache
def _storage_held_by_list() -> int:
    """Returns what `_references` counts for the object of a storage that only the list holds.

    From version 2.10, torch itself holds the object of a storage while C++ refers to the storage too, as a tensor does.
    """
    tensor = torch.zeros(3)
    return _references([tensor.untyped_storage()])[0]


def are_unreferenced(tensors: list[torch.Tensor]) -> list[bool]:
    """Returns for each tensor whether nothing in Python or C++ holds it but the given list, which must hold it once."""
    return [
        held == _HELD_BY_LIST and tensor._use_count() == 1  # type: ignore[attr-defined]  # not in torch's stubs
        for held, tensor in zip(_references(tensors), tensors, strict=True)
    ]


def have_own_memory(tensors: list[torch.Tensor], sharing: int = 1) -> list[bool]:
    """Returns for each tensor whether its memory has no other user than `sharing` tensors, of which it is one."""
    count = storage_count()
    if count is None:
        return [False] * len(tensors)
    storages, own = [tensor.untyped_storage() for tensor in tensors], _storage_held_by_list()
    return [
        # Memory that is not from torch's allocator (numpy, shared memory) may have users that torch does not know.
        held == own and count(storage) == sharing + 1 and storage.resizable() and not storage.is_shared()
        for held, storage in zip(_references(storages), storages, strict=True)
    ]


def _is_plain(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor is float32, contiguous, and has the values that its memory has."""
    return (
        tensor.dtype is torch.float32 and tensor.is_contiguous() and not tensor.is_neg() and not tensor._is_zerotensor()
    )


def _copy(gradient: torch.Tensor) -> torch.Tensor:
    values = as_real(gradient.detach()).reshape(-1)
    copy = torch.empty(values.numel(), dtype=torch.float32, device=values.device)
    return copy.copy_(values)


def _detach(parameters: Mapping[str, torch.nn.Parameter]) -> tuple[list[torch.Tensor], list[int]]:
    """Sets the gradients of the parameters to None. Returns those that there were, and the indices of the parameters.

    It is a function of its own so that no variable holds a gradient while its references are counted.
    """
    gradients, indices = [], []
    for index, (name, parameter) in enumerate(parameters.items()):
        if (gradient := parameter.grad) is None:
            continue
        if gradient.layout is not torch.strided or type(gradient) is not torch.Tensor:
            if gradient.is_sparse:
                raise UnsupportedModel(f"the gradient of {name} is sparse; build the layer with sparse=False")
            gradient = _copy(gradient)
        gradients.append(gradient)
        indices.append(index)
        parameter.grad = None
    return gradients, indices


def flat_gradients(parameters: Mapping[str, torch.nn.Parameter]) -> list[torch.Tensor | None]:
    """Returns the gradients of the parameters as flat copies on their device, and sets them to None.

    Args:
        parameters: by their names.
    Raises:
        UnsupportedModel: naming the parameter whose gradient is sparse.
    """
    gradients, indices = _detach(parameters)
    taken: list[torch.Tensor | None] = [None] * len(parameters)
    if not gradients:
        return taken
    values = [as_real(gradient.detach()).reshape(-1).to(torch.float32) for gradient in gradients]
    # One kernel for all of them, instead of one for each.
    parts = torch.split(torch.cat(values), [part.numel() for part in values])
    for index, part in zip(indices, parts, strict=True):
        taken[index] = part
    return taken


def take_gradients(parameters: Mapping[str, torch.nn.Parameter]) -> list[torch.Tensor | None]:
    """Returns the gradients of the parameters as contiguous tensors that nobody else uses, and sets them to None.

    Args:
        parameters: by their names.
    Raises:
        UnsupportedModel: naming the parameter whose gradient is sparse.
    """
    gradients, indices = _detach(parameters)
    unreferenced, own_memory = are_unreferenced(gradients), have_own_memory(gradients)
    taken: list[torch.Tensor | None] = [None] * len(parameters)
    for index, gradient, is_held_by_us, is_in_own_memory in zip(
        indices, gradients, unreferenced, own_memory, strict=True
    ):
        is_ours = is_held_by_us and is_in_own_memory and _is_plain(gradient)
        taken[index] = gradient if is_ours else _copy(gradient)
    return taken
