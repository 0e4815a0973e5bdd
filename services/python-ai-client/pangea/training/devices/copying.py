"""Copies large tensors in the memory of the CPU with several cores: in a run, torch has one thread."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import torch

# More do not help: a few cores reach what the memory can do.
_THREADS = 4
# Below, handing it over takes as long.
_LARGE_BYTES = 4 << 20


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0))), thread_name_prefix="pangea-copy")


def copy_large(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copies a tensor to another one of its shape and dtype, both on the CPU."""
    if source.nbytes < _LARGE_BYTES or not (target.is_contiguous() and source.is_contiguous()):
        target.copy_(source)
        return
    # torch releases the GIL while it copies.
    parts = zip(target.view(-1).chunk(_THREADS), source.view(-1).chunk(_THREADS), strict=True)
    list(_threads().map(lambda pair: pair[0].copy_(pair[1]), parts))
