"""What a model holds beside its trainable parameters: which of it a forward pass may change, and how that change takes part in a step.

BatchNorm and its like change buffers while the loss is computed. Were each shard to see what the one before left, the result would depend on who
computed what. So every shard starts from the buffers as they were at the step's start, its change goes through the same tree as the gradients, weighted
with its samples, and after the step a buffer is its old value plus the mean change. A step acts on buffers like one batch: `num_batches_tracked` grows by
1 for each step, however many shards it has. A buffer that counts or adds up (samples seen, hits of a code) is named to `pangea.join(buffers=...)` as a
"sum": it moves by the sum of the changes.

Changes travel as float32: one of more than 24 bits is rounded, alike for all workers.

Buffers that are not saved (persistent=False: caches, masks) have no part in a step: they are put back before each shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from pangea.errors import BrokenPromise
from pangea.training.tensors import TensorSlot, UnsupportedModel, tensor_slots

# What a buffer moves by in a step: the mean of the shards' changes over the samples, or their sum.
MODES = ("mean", "sum")


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bool and not tensor.is_complex()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """In a dtype that holds every difference of two values."""
    return tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)


def _of_norms(model: torch.nn.Module) -> set[str]:
    """Names of the buffers of torch's own normalisations, which are made to be averaged."""
    kinds = torch.nn.modules.batchnorm._NormBase
    return {f"{prefix}.{key}" if prefix else key for prefix, module in model.named_modules() if isinstance(module, kinds) for key in module._buffers}


class Buffers:
    """The buffers of a model. Those that go through the tree are all numbers that `state_dict` holds."""

    def __init__(self, model: torch.nn.Module, modes: Mapping[str, str] | None = None) -> None:
        """Args:
            modes: "sum" or "mean" by the buffer's name, where it is not "mean".
        Raises:
            UnsupportedModel: for a buffer that a snapshot could not carry, or a mode that is of no buffer.
        """
        modes = modes or {}
        self._moving: list[TensorSlot] = []
        self._tied: list[TensorSlot] = []  # further places of the same tensors
        self._cached: list[TensorSlot] = []
        self._fixed: list[TensorSlot] = []
        seen: set[int] = set()
        for slot, persistent in tensor_slots(model, "_buffers"):
            if persistent and slot.tensor.is_complex():
                raise UnsupportedModel(f"buffer {slot.name} is {slot.tensor.dtype}; register it with persistent=False, or as two real buffers")
            if id(slot.tensor) in seen:
                self._tied.append(slot)
                continue
            seen.add(id(slot.tensor))
            kind = self._cached if not persistent else self._moving if _is_number(slot.tensor) else self._fixed
            kind.append(slot)
        for name, mode in modes.items():
            if mode not in MODES or name not in {slot.name for slot in self._moving}:
                known = ", ".join(slot.name for slot in self._moving) or "none"
                raise UnsupportedModel(f"buffers={{{name!r}: {mode!r}}} cannot be: a mode is one of {', '.join(MODES)}, and the buffers that take part in a step are {known}")
        self._sums = [modes.get(slot.name, "mean") == "sum" for slot in self._moving]
        of_norms = _of_norms(model)
        self.averaged = [slot.name for slot, is_sum in zip(self._moving, self._sums, strict=True) if not is_sum and slot.name not in of_norms]
        self.elements = sum(slot.tensor.numel() for slot in self._moving)
        self._cache_start = [(slot.tensor.detach().clone(), slot.tensor._version) for slot in self._cached]
        self.record_baseline()

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of each that goes through the tree, in the order of a flat vector."""
        return [(slot.name, tuple(slot.tensor.shape)) for slot in self._moving]

    def record_baseline(self) -> None:
        """Takes the values of now for those of the step's start; caches are as they were at the join."""
        self._start = [slot.tensor.detach().clone() for slot in self._moving]
        self._empty_caches()
        self._fixed_versions = [slot.tensor._version for slot in self._fixed]

    @torch.no_grad()
    def reset(self) -> None:
        """Puts the values of the step's start back, also where a module replaced the tensor."""
        for slot, start in zip(self._moving, self._start, strict=True):
            slot.registry[slot.key] = slot.tensor
            slot.tensor.copy_(start)
        self._empty_caches()

    @torch.no_grad()
    def _empty_caches(self) -> None:
        for index, (slot, (value, version)) in enumerate(zip(self._cached, self._cache_start, strict=True)):
            slot.registry[slot.key] = slot.tensor
            if slot.tensor._version != version:
                slot.tensor.copy_(value)
                self._cache_start[index] = (value, slot.tensor._version)

    def check(self) -> None:
        """Raises:
        BrokenPromise: naming a saved buffer that is no number and has changed.
        """
        for slot, version in zip(self._fixed, self._fixed_versions, strict=True):
            if slot.current() is not slot.tensor or slot.tensor._version != version:
                raise BrokenPromise(
                    f"the buffer {slot.name} ({slot.tensor.dtype}) was changed, which the other workers would not learn of; make it a number (torch.uint8), or change it in run.after_step(fn)"
                )

    @torch.no_grad()
    def write_change(self, samples: int, flat: torch.Tensor) -> None:
        """Writes samples * (value - value at the step's start) of each buffer; of one that is a sum, without the factor.

        Args:
            samples: of the shard.
            flat: float32 [elements].
        Raises:
            UnsupportedModel: for a buffer that became another kind of tensor.
        """
        for slot in self._tied:
            if slot.current() is not slot.tensor:
                raise UnsupportedModel(f"buffer {slot.name} is shared by several modules and was replaced in one; change it in place")
        for slot, start, part, is_sum in self._parts(flat):
            now = slot.current()
            if now is None or now.shape != start.shape or now.dtype != start.dtype:
                what = "nothing" if now is None else f"{now.dtype} {tuple(now.shape)}"
                raise UnsupportedModel(
                    f"buffer {slot.name} was {start.dtype} {tuple(start.shape)} and became {what} in the forward pass; keep its shape and dtype, or register it with persistent=False if it is a cache"
                )
            # What is equal has not changed, also where the difference is no number (inf - inf).
            change = (_wide(now) - _wide(start)) * (1 if is_sum else samples)
            part.copy_(change.masked_fill_(now == start, 0).reshape(-1))

    @torch.no_grad()
    def apply(self, flat: torch.Tensor, samples: int) -> None:
        """Moves each buffer by its mean change, or by the sum; whole numbers by the nearest whole number.

        Args:
            flat: float32 [elements], summed over the shards of a step.
            samples: of the step.
        """
        for _slot, start, part, is_sum in self._parts(flat):
            total = part.view(start.shape)
            moved_by = total.to(torch.float64) / (1 if is_sum else samples)
            moved = (_wide(start) + (moved_by if start.is_floating_point() else moved_by.round().to(torch.int64))).to(start.dtype)
            # Where nothing changed, not even the sign of a zero does.
            start.copy_(torch.where(total == 0, start, moved))
        self.reset()

    def _parts(self, flat: torch.Tensor) -> Iterator[tuple[TensorSlot, torch.Tensor, torch.Tensor, bool]]:
        offset = 0
        for slot, start, is_sum in zip(self._moving, self._start, self._sums, strict=True):
            yield slot, start, flat[offset : offset + start.numel()], is_sum
            offset += start.numel()
