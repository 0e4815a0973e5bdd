"""Sends a batch from a loader process: what it contains by pickle, the memory of tensors and arrays by a memfd.

The receiver maps the memory instead of copying it. The mapping is private: what the script changes in place is not seen
by a forked child, nor the other way around. Nothing of a batch depends on its sender once it has arrived, so a loader
process may die at any time.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import torch

_ALIGNMENT = 64


def _rebuild_tensor(
    memory: Any, dtype: torch.dtype, size: tuple[int, ...], stride: tuple[int, ...], requires_grad: bool
) -> torch.Tensor:
    if memory is None:
        return torch.empty_strided(size, stride, dtype=dtype, requires_grad=requires_grad)
    flat = torch.frombuffer(memory, dtype=torch.uint8).view(dtype)
    return flat.as_strided(size, stride).requires_grad_(requires_grad)


def _reduce_tensor(tensor: torch.Tensor) -> tuple[Callable[..., torch.Tensor], tuple[Any, ...]]:
    """Describes a tensor by the piece of memory from its first element to its last, and the strides within it."""
    size, stride, item = tuple(tensor.shape), tuple(tensor.stride()), tensor.element_size()
    memory = None
    if tensor.numel():
        extent = 1 + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
        piece = torch.empty(0, dtype=torch.uint8).set_(
            tensor.untyped_storage(), tensor.storage_offset() * item, (extent * item,), (1,)
        )
        memory = pickle.PickleBuffer(piece.numpy())
    return _rebuild_tensor, (memory, tensor.dtype, size, stride, tensor.requires_grad)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        plain = type(value) is torch.Tensor and value.layout is torch.strided and value.device.type == "cpu"
        # A result of a computation with gradients cannot be sent; pickle says so.
        if plain and value.is_leaf and not (value.is_quantized or value.is_conj() or value.is_neg()):
            return _reduce_tensor(value)
        return NotImplemented


class Packed:
    """A value as bytes, and the memory that it refers to."""

    def __init__(self, value: Any) -> None:
        """Raises whatever pickle raises for a value that it cannot describe."""
        self._buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _Pickler(stream, protocol=5, buffer_callback=self._buffers.append).dump(value)
        self._described = stream.getvalue()

    def send(self, connection: Connection) -> None:
        """Sends the value, which `receive` takes at the other end."""
        pieces = [buffer.raw() for buffer in self._buffers]
        sizes = [len(piece) for piece in pieces]
        connection.send((self._described, sizes))
        if not any(sizes):
            return
        memory = os.memfd_create("pangea-batch", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, sum(map(_padded, sizes)))
            offset = 0
            for piece in pieces:
                _write(memory, piece, offset)
                offset += _padded(len(piece))
            send_handle(connection, memory, None)
        finally:
            os.close(memory)


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _write(memory: int, piece: memoryview, offset: int) -> None:
    # Linux writes at most 2 GiB at once.
    written = 0
    while written < len(piece):
        written += os.pwrite(memory, piece[written:], offset + written)


def receive(connection: Connection) -> Any:
    """Receives what `Packed.send` has sent.

    Raises:
        EOFError, OSError: the sender no longer exists.
    """
    described, sizes = connection.recv()
    if not any(sizes):
        return pickle.loads(described, buffers=[bytearray() for _ in sizes])
    memory = recv_handle(connection)
    try:
        # By its path, since `mmap` of Python would keep a descriptor for as long as the memory is used.
        mapped = torch.from_file(
            f"/proc/self/fd/{memory}", shared=False, size=sum(map(_padded, sizes)), dtype=torch.uint8
        )
    finally:
        os.close(memory)
    whole, buffers, offset = memoryview(mapped.numpy()), [], 0
    for size in sizes:
        buffers.append(whole[offset : offset + size])
        offset += _padded(size)
    return pickle.loads(described, buffers=buffers)
