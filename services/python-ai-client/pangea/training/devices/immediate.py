"""Queues for tests that are always empty: an `Accelerator` with them computes and copies on the CPU, at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


class _Done:
    def synchronize(self) -> None:
        """Returns at once."""


class ImmediateStreams:
    """See the module."""

    def copy_stream(self) -> None:
        """Returns a stream."""

    def current(self) -> None:
        """Returns a stream."""

    def queue_on(self, stream: Any) -> AbstractContextManager[Any]:
        """Queues what follows on a stream."""
        return nullcontext()

    def wait_for(self, waiting: Any, other: Any) -> None:
        """Waits for nothing."""

    def event(self, stream: Any) -> Any:
        """Returns an event that has happened."""
        return _Done()

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        """Keeps nothing: the memory is the CPU's."""

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns ordinary memory."""
        return torch.empty(shape, dtype=dtype)
