"""A device with memory and queues of its own, such as a GPU: what it copies does not stop what it computes.

Kernels are queued on the current stream. Copies are queued on two streams of their own, one for each direction, and
overlap with them; events keep the order:

- to the CPU: the copy begins when the kernels queued so far are done, and the CPU reads after the copy's event;
- to the device: the CPU copies to pinned memory, and kernels that are queued later wait for the copy's event.

torch's caching allocators give memory out again only when the streams that use it are done: for memory of the device
because `keep` says which they are, for pinned memory because torch records its copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

from pangea.training.devices.copying import copy_large
from pangea.training.devices.device import Device, HostCopy
from pangea.training.devices.settings import describe_device

# Up to here, CUDA has read the memory of the CPU when it returns, and waits for nothing.
_SMALL_BYTES = 64 << 10


class Streams(Protocol):
    """The queues of a device, as `torch.cuda` has them."""

    def copy_stream(self) -> Any:
        """Returns a new stream."""

    def current(self) -> Any:
        """Returns the stream that kernels are queued on."""

    def queue_on(self, stream: Any) -> AbstractContextManager[Any]:
        """Queues what follows on a stream."""

    def wait_for(self, waiting: Any, other: Any) -> None:
        """Lets what is queued on `waiting` from now on wait for what is queued on the other stream so far."""

    def event(self, stream: Any) -> Any:
        """Returns an event with `synchronize`, which waits for what is queued on the stream so far."""

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        """Keeps the memory of a tensor until the stream has done what is queued on it so far."""

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns contiguous memory of the CPU that the device can reach."""


class TorchStreams:
    """The queues of a device by torch's module for it, such as `torch.cuda`."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._module = device, torch.get_device_module(device)

    def copy_stream(self) -> Any:
        """Returns a new stream."""
        return self._module.Stream(device=self._device)

    def current(self) -> Any:
        """Returns the stream that kernels are queued on."""
        return self._module.current_stream(self._device)

    def queue_on(self, stream: Any) -> AbstractContextManager[Any]:
        """Queues what follows on a stream."""
        context: AbstractContextManager[Any] = self._module.stream(stream)
        return context

    def wait_for(self, waiting: Any, other: Any) -> None:
        """Lets what is queued on `waiting` from now on wait for what is queued on the other stream so far."""
        waiting.wait_stream(other)

    def event(self, stream: Any) -> Any:
        """Returns an event behind what is queued on the stream so far."""
        return stream.record_event()

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        """Keeps the memory of a tensor until the stream has done what is queued on it so far."""
        tensor.record_stream(stream)

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns pinned memory."""
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)


class Staging:
    """Pinned memory that tensors are copied through to a device; its allocation would take as long as a large copy.

    Args:
        streams: of the device.
        stream: that the copies to the device are queued on.
    """

    def __init__(self, streams: Streams, stream: Any) -> None:
        self._streams, self._stream = streams, stream
        # By size: the memory, and the event behind the last copy from it.
        self._held: dict[int, tuple[torch.Tensor, Any]] = {}

    def to_device(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Returns a tensor of the CPU on the device, which its stream copies; the given one may be changed at once."""
        # Powers of two, so that batches of any shape share a few.
        size = 1 << (tensor.nbytes - 1).bit_length()
        if size in self._held:
            memory, copied = self._held.pop(size)
            copied.synchronize()
        else:
            memory = self._streams.pinned((size,), torch.uint8)
        pinned = memory[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copy_large(pinned, tensor)
        with self._streams.queue_on(self._stream):
            placed = pinned.to(device, non_blocking=True, copy=True)
        self._held[size] = memory, self._streams.event(self._stream)
        return placed


class Accelerator(Device):
    """A device such as a GPU.

    Args:
        torch_device: with its index.
        streams: of the device; default: torch's.
    """

    computes_ahead = True
    # A child of a process that has used CUDA cannot use it.
    forks = False

    def __init__(self, torch_device: torch.device, streams: Streams | None = None) -> None:
        super().__init__(torch_device)
        self._streams: Streams = TorchStreams(torch_device) if streams is None else streams
        self._to_host, self._to_device = self._streams.copy_stream(), self._streams.copy_stream()
        self._staging = Staging(self._streams, self._to_device)

    @torch.no_grad()
    def to_host(self, tensors: Sequence[torch.Tensor], into: Sequence[torch.Tensor] | None = None) -> HostCopy:
        """Copies tensors to pinned memory as soon as the kernels queued so far are done."""
        streams = self._streams
        streams.wait_for(self._to_host, streams.current())
        copies = []
        with streams.queue_on(self._to_host):
            for index, tensor in enumerate(tensors):
                # A copy without blocking needs both sides in one piece.
                source = tensor.detach().contiguous()
                target = streams.pinned(source.shape, source.dtype) if into is None else into[index]
                copies.append(target.copy_(source, non_blocking=True))
                streams.keep(source, self._to_host)
        return HostCopy(copies, streams.event(self._to_host).synchronize)

    @torch.no_grad()
    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copies a tensor to pinned memory, and from there to the device beside what that computes."""
        if tensor.device.type != "cpu":
            return tensor
        # Of pinned memory, even a small tensor is read later.
        if tensor.nbytes <= _SMALL_BYTES and not tensor.is_pinned():
            return tensor.to(self.torch_device, non_blocking=True, copy=True)
        streams = self._streams
        placed = self._staging.to_device(tensor, self.torch_device)
        streams.wait_for(streams.current(), self._to_device)
        streams.keep(placed, streams.current())
        return placed

    def describe(self) -> str:
        """Returns the device, its driver and libraries, and whether they may compute with TF32."""
        return describe_device(self.torch_device)
