"""What a model holds beside its trainable parameters: which of it a forward pass may change, and how that change takes part in a step.

BatchNorm and its like change buffers while the loss is computed. Were each shard to see what the one before left, the result would depend on who
computed what. So every shard starts from the buffers as they were at the step's start, its change goes through the same tree as the gradients, weighted
with its samples, and after the step a buffer is its old value plus the mean change. A step acts on buffers like one batch: `num_batches_tracked` grows by
1 for each step, however many shards it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


class UnsupportedModel(ValueError):
    """The model cannot be trained in a run; the message names the tensor and the reason."""


@dataclass(frozen=True)
class Place:
    """Where a module keeps a tensor. A tied tensor has several places."""

    name: str
    shelf: dict[str, Any]
    key: str
    tensor: torch.Tensor

    def holds(self) -> torch.Tensor | None:
        """What is there now."""
        now = self.shelf.get(self.key)
        return now if isinstance(now, torch.Tensor) else None


def places(model: torch.nn.Module, kind: str) -> Iterator[tuple[Place, bool]]:
    """Each place of a tensor, and whether `state_dict` holds it.

    Args:
        kind: "_parameters" or "_buffers".
    """
    for prefix, module in model.named_modules():
        shelf = getattr(module, kind)
        for key, tensor in shelf.items():
            if tensor is not None:
                name = f"{prefix}.{key}" if prefix else key
                yield Place(name, shelf, key, tensor), key not in module._non_persistent_buffers_set


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bool and not tensor.is_complex()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """In a dtype that holds every difference of two values."""
    return tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)


class Buffers:
    """The buffers of a model that go through the tree: all numbers that `state_dict` holds."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Raises:
        UnsupportedModel: for a buffer that a snapshot could not carry.
        """
        self._moving: list[Place] = []
        self._tied: list[Place] = []  # further places of the same tensors
        self.fixed: list[Place] = []
        seen: set[int] = set()
        for place, persistent in places(model, "_buffers"):
            if persistent and place.tensor.is_complex():
                raise UnsupportedModel(f"buffer {place.name} is {place.tensor.dtype}; register it with persistent=False, or as two real buffers")
            if id(place.tensor) in seen:
                self._tied.append(place)
            elif persistent and _is_number(place.tensor):
                self._moving.append(place)
                seen.add(id(place.tensor))
            else:
                self.fixed.append(place)
        self.elements = sum(place.tensor.numel() for place in self._moving)
        self.remember()

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of each, in the order of a flat vector."""
        return [(place.name, tuple(place.tensor.shape)) for place in self._moving]

    def remember(self) -> None:
        """Takes the values of now for those of the step's start."""
        self._start = [place.tensor.detach().clone() for place in self._moving]

    @torch.no_grad()
    def reset(self) -> None:
        """Puts the values of the step's start back, also where a module replaced the tensor."""
        for place, start in zip(self._moving, self._start, strict=True):
            place.shelf[place.key] = place.tensor
            place.tensor.copy_(start)

    @torch.no_grad()
    def write_change(self, samples: int, flat: torch.Tensor) -> None:
        """Writes samples * (value - value at the step's start) of each buffer.

        Args:
            samples: of the shard.
            flat: float32 [elements].
        Raises:
            UnsupportedModel: for a buffer that became another kind of tensor.
        """
        for place in self._tied:
            if place.holds() is not place.tensor:
                raise UnsupportedModel(f"buffer {place.name} is shared by several modules and was replaced in one; change it in place")
        for place, start, part in self._parts(flat):
            now = place.holds()
            if now is None or now.shape != start.shape or now.dtype != start.dtype:
                what = "nothing" if now is None else f"{now.dtype} {tuple(now.shape)}"
                raise UnsupportedModel(f"buffer {place.name} was {start.dtype} {tuple(start.shape)} and became {what} in the forward pass; keep its shape and dtype")
            # What is equal has not changed, also where the difference is no number (inf - inf).
            part.copy_(((_wide(now) - _wide(start)) * samples).masked_fill_(now == start, 0).reshape(-1))

    @torch.no_grad()
    def apply(self, flat: torch.Tensor, samples: int) -> None:
        """Moves each buffer by its mean change; whole numbers by the nearest whole number.

        Args:
            flat: float32 [elements], summed over the shards of a step.
            samples: of the step.
        """
        for _place, start, part in self._parts(flat):
            total = part.view(start.shape)
            mean = total.to(torch.float64) / samples
            moved = (_wide(start) + (mean if start.is_floating_point() else mean.round().to(torch.int64))).to(start.dtype)
            # Where nothing changed, not even the sign of a zero does.
            start.copy_(torch.where(total == 0, start, moved))
        self.reset()

    def _parts(self, flat: torch.Tensor) -> Iterator[tuple[Place, torch.Tensor, torch.Tensor]]:
        offset = 0
        for place, start in zip(self._moving, self._start, strict=True):
            yield place, start, flat[offset : offset + start.numel()]
            offset += start.numel()


class Untouched:
    """Notices when something changes that only the optimizer, or nobody, may change. It costs a look at a counter for each tensor."""

    def __init__(self, watched: list[tuple[Place, str]]) -> None:
        """Args:
        watched: each with what to do about a change.
        """
        self._watched = watched
        self.remember()

    def remember(self) -> None:
        """Takes what is there now for what has to stay."""
        self._versions = [place.tensor._version for place, _ in self._watched]

    def check(self) -> None:
        """Raises:
        UnsupportedModel: naming the first tensor that changed, with what to do.
        """
        for (place, advice), version in zip(self._watched, self._versions, strict=True):
            if place.holds() is not place.tensor or place.tensor._version != version:
                raise UnsupportedModel(f"{place.name} changed outside of the optimizer's step, which the other workers would not learn of; {advice}")
