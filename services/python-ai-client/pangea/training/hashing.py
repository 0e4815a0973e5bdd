"""Hashes over tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The elements of a CPU tensor as bytes in C order; no copy if the tensor is contiguous."""
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.numel() == 0:
        return memoryview(b"")
    return memoryview(flat.view(torch.uint8).numpy())


def tensors_hash(tensors: Iterable[torch.Tensor]) -> bytes:
    """SHA-256 over the bytes of all tensors, one after the other."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor_bytes(tensor))
    return digest.digest()
