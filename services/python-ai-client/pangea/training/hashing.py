"""Hashes over tensors: SHA-256, and the content hash with which workers of a run compare their bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch

from pangea import _native


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """Returns the elements of a tensor as bytes in C order, without a copy if it is contiguous and on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel() == 0:
        return memoryview(b"")
    return memoryview(flat.view(torch.uint8).numpy())


def tensors_hash(tensors: Iterable[torch.Tensor]) -> bytes:
    """Returns the SHA-256 over the concatenated bytes of all tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor_bytes(tensor))
    return digest.digest()


def content_hash(tensors: Iterable[torch.Tensor], method: _native.ContentHash) -> bytes:
    """Returns the content hash of these tensors.

    Args:
        tensors: in the order in which they are hashed.
        method: that of the run.
    """
    return _native.content_hash([tensor_bytes(tensor) for tensor in tensors], method)
