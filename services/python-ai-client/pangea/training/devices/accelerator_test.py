"""The order in which an accelerator's copies, and the waits for them, are queued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from pangea.training.devices.accelerator import Accelerator

# Too large to be copied at once.
LARGE = torch.arange(30_000.0)


@dataclass
class Stream:
    """A queue of the device."""

    name: str


class RecordedStreams:
    """Records what is queued on which stream; tensors of the device are those of the CPU."""

    def __init__(self) -> None:
        self.compute = Stream("compute")
        self._on = self.compute
        self.made: list[Stream] = []
        self.log: list[str] = []

    def copy_stream(self) -> Stream:
        """Returns a new stream."""
        self.made.append(Stream(f"copies {len(self.made)}"))
        return self.made[-1]

    def current(self) -> Stream:
        """Returns the stream that is queued on."""
        return self._on

    @contextmanager
    def queue_on(self, stream: Stream) -> Iterator[None]:
        """Queues on a stream."""
        before, self._on = self._on, stream
        self.log.append(f"on {stream.name}")
        yield
        self._on = before
        self.log.append(f"on {before.name}")

    def wait_for(self, waiting: Stream, other: Stream) -> None:
        """Records that one stream waits for another."""
        self.log.append(f"{waiting.name} waits for {other.name}")

    def event(self, stream: Stream) -> Any:
        """Returns an event that records when it is waited for."""
        self.log.append(f"event on {stream.name}")
        streams = self

        class Event:
            def synchronize(self) -> None:
                streams.log.append("the CPU waits")

        return Event()

    def keep(self, tensor: torch.Tensor, stream: Stream) -> None:
        """Records for which stream memory is kept."""
        self.log.append(f"memory is kept for {stream.name}")

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns ordinary memory."""
        self.log.append("pinned")
        return torch.empty(shape, dtype=dtype)


@pytest.fixture
def streams() -> RecordedStreams:
    return RecordedStreams()


def accelerator(streams: RecordedStreams) -> Accelerator:
    return Accelerator(torch.device("cpu"), streams)


def test_a_copy_to_the_cpu_follows_the_kernels_and_is_read_after_its_event(streams: RecordedStreams) -> None:
    copy = accelerator(streams).to_host([torch.arange(3.0)])
    assert streams.log == [
        "copies 0 waits for compute",
        "on copies 0",
        "pinned",
        "memory is kept for copies 0",
        "on compute",
        "event on copies 0",
    ], "compute must not wait for the copy, nor the CPU"
    (tensor,) = copy.wait()
    assert streams.log[-1] == "the CPU waits"
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    copy.wait()
    assert streams.log.count("the CPU waits") == 1


def test_a_copy_to_the_device_does_not_wait_for_kernels_but_later_ones_wait_for_it(streams: RecordedStreams) -> None:
    placing: Callable[[torch.Tensor], torch.Tensor] = accelerator(streams).place
    assert placing(LARGE).shape == LARGE.shape
    copied = ["on copies 1", "on compute", "event on copies 1", "compute waits for copies 1"]
    first = ["pinned", *copied, "memory is kept for compute"]
    assert streams.log == first
    placing(LARGE[:-1])
    assert streams.log[len(first) :] == ["the CPU waits", *first[1:]], "its memory is used when it was copied"


def test_a_small_tensor_is_placed_without_a_stream_of_its_own(streams: RecordedStreams) -> None:
    accelerator(streams).place(torch.ones(3))
    assert streams.log == []


@pytest.mark.parametrize("given", [torch.ones(3), LARGE.clone(), LARGE.clone().view(2, -1).t()])
def test_the_content_at_the_time_of_the_call_is_placed(given: torch.Tensor, streams: RecordedStreams) -> None:
    place, expected = accelerator(streams).place, given.clone()
    placed = place(given)
    given.zero_()
    place(given)
    assert torch.equal(placed, expected)


def test_a_tensor_that_is_not_contiguous_keeps_its_order(streams: RecordedStreams) -> None:
    given = torch.arange(6.0).view(2, 3).t()
    (copy,) = accelerator(streams).to_host([given]).wait()
    assert copy.is_contiguous() and torch.equal(copy, given)
