"""Gradient sums as a worker holds them: the tensors that autograd made, added up in one pass over their memory.

A sum has the parts of the flat vector that is sent, but not necessarily in one piece: a shard's gradients stay where
autograd wrote them. They are read once, when the shard completes a node of the tree, and the sum of a node that is sent
is written to where it is sent from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch

from pangea import _native

_FLOAT_BYTES = 4


class RootMemory(Protocol):
    """Memory that gradient sums are sent from, in flat float32 vectors [elements]."""

    def acquire(self) -> torch.Tensor:
        """Returns a contiguous vector with undefined content, for the caller alone until `release`."""

    def release(self, vector: torch.Tensor) -> None:
        """Takes back a vector that `acquire` returned: it has been sent, or will not be."""

    def is_shared(self, vector: torch.Tensor) -> bool:
        """Returns whether a vector that `acquire` returned is read where it is, and sent with its content hash."""


class VectorPool:
    """Private memory for sums; released vectors are used again. A lease needs as many as it has roots."""

    def __init__(self, elements: int) -> None:
        self._elements = elements
        self._free: list[torch.Tensor] = []

    def acquire(self) -> torch.Tensor:
        """Returns a vector with undefined content."""
        return self._free.pop() if self._free else torch.empty(self._elements, dtype=torch.float32)

    def release(self, vector: torch.Tensor) -> None:
        """Returns a vector to the pool."""
        self._free.append(vector)

    def is_shared(self, vector: torch.Tensor) -> bool:
        """Returns false: it is sent by a copy."""
        return False


class Layout:
    """The parts of a flat vector.

    Args:
        sizes: the elements of each part, in order.
    Attributes:
        elements: of the whole vector.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        *starts, self.elements = accumulate(sizes, initial=0)
        self._offsets = [_FLOAT_BYTES * start for start in starts]
        self._fold = _native.Fold(sizes)

    def zeros(self) -> GradientSum:
        """Returns the sum of a shard in which nothing counts."""
        return GradientSum(self, [None] * len(self._offsets))

    def add(self, sums: Sequence[GradientSum]) -> GradientSum:
        """Returns sums[0] + (sums[1] + ...), in their memory: none of them may be used any more.

        Args:
            sums: none of them in a vector.
        """
        self._fold.in_place([self._addresses(operand) for operand in sums])
        # As `in_place` does: the first operand that has the part.
        columns = zip(*(operand.parts for operand in sums), strict=True)
        return GradientSum(self, [next((part for part in column if part is not None), None) for column in columns])

    def add_into(self, sums: Sequence[GradientSum], vector: torch.Tensor, digest: bool = False) -> GradientSum:
        """Returns sums[0] + (sums[1] + ...), written to a vector [elements]. The memory of the sums remains theirs.

        With `digest`, the vector is hashed while each piece of it is in the cache.
        """
        if vector.dtype != torch.float32 or vector.shape != (self.elements,) or not vector.is_contiguous():
            raise ValueError(f"a sum needs a contiguous float32 vector [{self.elements}], not {vector.shape}")
        hashed = self._fold.write_vector([self._addresses(operand) for operand in sums], vector.data_ptr(), digest)
        return GradientSum(self, (), vector, hashed)

    def _addresses(self, operand: GradientSum) -> list[int]:
        if operand.vector is not None:
            start = operand.vector.data_ptr()
            return [start + offset for offset in self._offsets]
        return [0 if part is None else part.data_ptr() for part in operand.parts]


@dataclass(frozen=True)
class GradientSum:
    """The gradient sum of some shards.

    Attributes:
        parts: contiguous float32 tensors in the order of the layout, whose memory nobody else uses; None for a part
            that is +0.0 everywhere. Empty if the sum is in a vector.
        vector: flat, with all parts.
        digest: the content hash (`xxh3Tree`) of the vector, if it is known.
    """

    layout: Layout
    parts: Sequence[torch.Tensor | None]
    vector: torch.Tensor | None = None
    digest: bytes | None = None

    def flat(self) -> torch.Tensor:
        """Returns the sum as a flat vector: its own, or a new one."""
        if self.vector is not None:
            return self.vector
        vector = torch.empty(self.layout.elements, dtype=torch.float32)
        self.layout.add_into([self], vector)
        return vector
