"""The memory that a worker's gradient sums are sent from."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pangea import _native
from pangea.training.sums import VectorPool


class GradientMemory:
    """Slots that the orchestrator reads, and private vectors where there is none: a `RootMemory`.

    A sum that is written to a slot is submitted from there without a copy. A slot is given out once: when it may be
    written again, it comes as a new vector.

    Args:
        elements: of a vector.
        slot: returns a slot that is free, or None.
    """

    def __init__(self, elements: int, slot: Callable[[], _native.SharedBuffer | None]) -> None:
        self._private, self._slot = VectorPool(elements), slot
        self._in_slots: set[int] = set()

    def acquire(self) -> torch.Tensor:
        """Returns a vector with undefined content."""
        try:
            slot = self._slot()
        except (_native.WireError, _native.PeerError):
            slot = None  # The connection is lost: the next request on it says so.
        if slot is None:
            return self._private.acquire()
        vector = torch.frombuffer(slot, dtype=torch.float32)
        self._in_slots.add(vector.data_ptr())
        return vector

    def is_shared(self, vector: torch.Tensor) -> bool:
        """Returns whether it is a slot."""
        return vector.data_ptr() in self._in_slots

    def release(self, vector: torch.Tensor) -> None:
        """Takes back a vector. A slot that was not submitted is free once the vector is gone."""
        if vector.data_ptr() in self._in_slots:
            self._in_slots.discard(vector.data_ptr())
        else:
            self._private.release(vector)
