"""The buffers of a model: which of them a forward pass may change, and how a step combines the changes of its shards.

BatchNorm and similar modules change buffers while the loss is computed. If each shard saw the changes of the one
before, the result would depend on which worker computed which shard. So every shard starts from the buffers as they
were at the start of the step. Its changes, weighted with its samples, are added in the same tree as the gradients, and
the step adds their mean to each buffer. A step affects buffers like one batch: `num_batches_tracked` grows by 1 for
each step, for any number of shards. A buffer that counts or accumulates (samples seen, hits of a code) is declared as
"sum" in `pangea.join(buffers=...)`: the step adds the sum of the changes.

Changes are sent as float32: one of more than 24 bits is rounded, identically for all workers.

Buffers that are not saved (persistent=False: caches, masks) do not take part in a step: they are reset before each
shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pangea.errors import BrokenPromise
from pangea.training.tensors import TensorSlot, UnsupportedModel, tensor_slots

# What a step adds to a buffer: the mean of the shards' changes, weighted with their samples, or their sum.
MODES = ("mean", "sum")


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bool and not tensor.is_complex()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor in a dtype wide enough for the difference of any two values."""
    return tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)


def _of_norms(model: torch.nn.Module) -> set[str]:
    """Returns the names of the buffers of torch's own normalisation modules, which are meant to be averaged."""
    kinds = torch.nn.modules.batchnorm._NormBase
    return {
        f"{prefix}.{key}" if prefix else key
        for prefix, module in model.named_modules()
        if isinstance(module, kinds)
        for key in module._buffers
    }


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


class _Group:
    """The buffers of one dtype as one vector, because a model may have hundreds of small ones.

    Args:
        slots: not empty, of one dtype.
        sums: whether a step adds the sum of its changes, for each.
    """

    def __init__(self, slots: Sequence[TensorSlot], sums: Sequence[bool]) -> None:
        self._slots = slots
        self._tensors = [slot.tensor for slot in slots]
        self._start = _flat(self._tensors)
        sizes = [tensor.numel() for tensor in self._tensors]
        self.elements = sum(sizes)
        parts = zip(torch.split(self._start, sizes), self._tensors, strict=True)
        self._starts = [part.view(tensor.shape) for part, tensor in parts]
        self._is_sum: torch.Tensor | None = None
        if any(sums):
            of_each = [torch.full((size,), is_sum) for size, is_sum in zip(sizes, sums, strict=True)]
            self._is_sum = torch.cat(of_each).to(self._start.device)

    def record_start(self) -> None:
        """Makes the current values those at the start of the step, also of tensors that replace those of buffers.

        Raises:
            UnsupportedModel: for a buffer whose shape or dtype changed.
        """
        for slot in self._slots:
            if slot.registry.get(slot.key) is not slot.tensor:
                slot.tensor.copy_(_current(slot, slot.tensor, "run.after_step"))
                slot.registry[slot.key] = slot.tensor
        self._start.copy_(_flat(self._tensors))

    def reset(self) -> None:
        """Restores the values at the start of the step."""
        for slot in self._slots:
            slot.registry[slot.key] = slot.tensor
        torch._foreach_copy_(self._tensors, self._starts)

    def change(self, samples: int) -> torch.Tensor:
        """Returns what `Buffers.write_change` writes for these buffers, float32 [elements]."""
        now = _flat(
            [_current(slot, start, "the forward pass") for slot, start in zip(self._slots, self._starts, strict=True)]
        )
        change = _wide(now) - _wide(self._start)
        change = change * samples if self._is_sum is None else torch.where(self._is_sum, change, change * samples)
        # Equal values have not changed, even if their difference is NaN (inf - inf).
        return change.masked_fill_(now == self._start, 0).to(torch.float32)

    def apply(self, total: torch.Tensor, samples: int) -> None:
        """Adds the change of a step, of which `total` is the sum over its shards, to the values at its start."""
        start, change = self._start, total.to(torch.float64)
        change = change / samples if self._is_sum is None else torch.where(self._is_sum, change, change / samples)
        whole = change if start.is_floating_point() else change.round().to(torch.int64)
        # An element without a change keeps its bits: adding 0 would turn -0.0 into 0.0.
        start.copy_(torch.where(total == 0, start, (_wide(start) + whole).to(start.dtype)))


def _current(slot: TensorSlot, start: torch.Tensor, where: str) -> torch.Tensor:
    """Returns what the forward pass, or a function of a step, has made of a buffer.

    Raises:
        UnsupportedModel: its shape or dtype changed.
    """
    now = slot.current()
    if now is None or now.shape != start.shape or now.dtype != start.dtype:
        what = "nothing" if now is None else f"{now.dtype} {tuple(now.shape)}"
        raise UnsupportedModel(
            f"buffer {slot.name} was {start.dtype} {tuple(start.shape)} and became {what} in {where}; keep its"
            " shape and dtype, or register it with persistent=False if it is a cache"
        )
    return now


class Buffers:
    """The buffers of a model. All numeric buffers in `state_dict` take part in a step.

    Args:
        modes: "sum" or "mean" by the buffer's name; default: "mean".
    Raises:
        UnsupportedModel: for a buffer that cannot be stored in a snapshot, or a mode for an unknown buffer.
    """

    def __init__(self, model: torch.nn.Module, modes: Mapping[str, str] | None = None) -> None:
        modes = modes or {}
        self._numeric: list[TensorSlot] = []
        self._tied: list[TensorSlot] = []  # further slots of the same tensors
        self._caches: list[TensorSlot] = []
        self._non_numeric: list[TensorSlot] = []
        seen: set[int] = set()
        for slot, persistent in tensor_slots(model, "_buffers"):
            if persistent and slot.tensor.is_complex():
                raise UnsupportedModel(
                    f"buffer {slot.name} is {slot.tensor.dtype}; register it with persistent=False, or as two real"
                    " buffers"
                )
            if id(slot.tensor) in seen:
                self._tied.append(slot)
                continue
            seen.add(id(slot.tensor))
            kind = self._caches if not persistent else self._numeric if _is_number(slot.tensor) else self._non_numeric
            kind.append(slot)
        for name, mode in modes.items():
            if mode not in MODES or name not in {slot.name for slot in self._numeric}:
                known = ", ".join(slot.name for slot in self._numeric) or "none"
                raise UnsupportedModel(
                    f"buffers={{{name!r}: {mode!r}}} is invalid: a mode is one of {', '.join(MODES)}, and the buffers"
                    f" that take part in a step are {known}"
                )
        sums = [modes.get(slot.name, "mean") == "sum" for slot in self._numeric]
        of_norms = _of_norms(model)
        # Those of norms also change in a forward pass that is not trained; a script means nothing by it.
        self._watched = [slot for slot in self._numeric if slot.name not in of_norms]
        self.averaged = [
            slot.name
            for slot, is_sum in zip(self._numeric, sums, strict=True)
            if not is_sum and slot.name not in of_norms
        ]
        self.elements = sum(slot.tensor.numel() for slot in self._numeric)
        self._group(sums)
        self._cache_start = [(slot.tensor.detach().clone(), slot.tensor._version) for slot in self._caches]
        self.record_baseline()

    def _group(self, sums: Sequence[bool]) -> None:
        """Groups the buffers by dtype, and finds out where the groups' elements are in the flat vector."""
        sizes = [slot.tensor.numel() for slot in self._numeric]
        positions = torch.split(torch.arange(self.elements), sizes)
        members: dict[torch.dtype, list[int]] = {}
        for index, slot in enumerate(self._numeric):
            members.setdefault(slot.tensor.dtype, []).append(index)
        self._groups = [
            _Group([self._numeric[index] for index in group], [sums[index] for index in group])
            for group in members.values()
        ]
        # With one group the order is the same.
        self._to_groups: torch.Tensor | None = None
        self._from_groups: torch.Tensor | None = None
        if len(members) > 1:
            to_groups = torch.cat([positions[index] for group in members.values() for index in group])
            device = self._numeric[0].tensor.device
            self._to_groups, self._from_groups = to_groups.to(device), to_groups.argsort().to(device)

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the name and shape of each buffer that takes part in a step, in the order of the flat vector."""
        return [(slot.name, tuple(slot.tensor.shape)) for slot in self._numeric]

    def record_baseline(self) -> None:
        """Makes the current values those at the start of the step, and resets caches.

        Raises:
            UnsupportedModel: for a buffer whose shape or dtype changed.
        """
        with torch.no_grad():
            for group in self._groups:
                group.record_start()
        self._reset_caches()
        self._record_versions()
        self._non_numeric_versions = [slot.tensor._version for slot in self._non_numeric]

    def _record_versions(self) -> None:
        self._versions = [slot.tensor._version for slot in self._watched]

    def check_untouched(self) -> None:
        """Checks that nothing has changed since the last reset. Call it before the reset that begins a shard.

        Raises:
            BrokenPromise: naming the buffer that the script has changed.
        """
        for slot, version in zip(self._watched, self._versions, strict=True):
            if slot.registry.get(slot.key) is not slot.tensor or slot.tensor._version != version:
                raise BrokenPromise(
                    f"the buffer {slot.name} was changed in the loop, outside of the forward pass of a batch, where"
                    " each worker would change it at another time; write it as run.after_step(fn), which runs once a"
                    " step on each worker, or, for a forward pass that is not trained, call model.eval() before"
                )

    def reset(self) -> None:
        """Restores the values at the start of the step, even where a module replaced the tensor."""
        # Switching autograd off to do nothing takes a small model longer than all else here.
        if self._numeric or self._caches:
            self._reset()

    @torch.no_grad()
    def _reset(self) -> None:
        for group in self._groups:
            group.reset()
        self._reset_caches()
        self._record_versions()

    @torch.no_grad()
    def _reset_caches(self) -> None:
        for index, (slot, (value, version)) in enumerate(zip(self._caches, self._cache_start, strict=True)):
            slot.registry[slot.key] = slot.tensor
            if slot.tensor._version != version:
                slot.tensor.copy_(value)
                self._cache_start[index] = (value, slot.tensor._version)

    def check(self) -> None:
        """Checks that the saved non-numeric buffers, which do not take part in a step, have not changed.

        Raises:
            BrokenPromise: naming the buffer that has changed.
        """
        for slot, version in zip(self._non_numeric, self._non_numeric_versions, strict=True):
            if slot.current() is not slot.tensor or slot.tensor._version != version:
                raise BrokenPromise(
                    f"the buffer {slot.name} ({slot.tensor.dtype}) was changed, but the change would not reach the"
                    " other workers; make it a number (torch.uint8), or change it in run.after_step(fn)"
                )

    def write_change(self, samples: int, flat: torch.Tensor) -> None:
        """Writes samples * (value - value at the start of the step) for each buffer; for a "sum", without the factor.

        Args:
            samples: of the shard.
            flat: float32 [elements]; overwritten.
        Raises:
            UnsupportedModel: for a buffer whose shape or dtype changed.
        """
        if self._numeric or self._tied:
            self._write_change(samples, flat)

    @torch.no_grad()
    def _write_change(self, samples: int, flat: torch.Tensor) -> None:
        for slot in self._tied:
            if slot.current() is not slot.tensor:
                raise UnsupportedModel(
                    f"buffer {slot.name} is shared by several modules and was replaced in one; change it in place"
                )
        if self._groups:
            changes = torch.cat([group.change(samples) for group in self._groups])
            flat.copy_(changes if self._from_groups is None else changes[self._from_groups])

    @torch.no_grad()
    def apply(self, flat: torch.Tensor, samples: int) -> None:
        """Adds to each buffer its mean change, or the sum; for integer buffers rounded to the nearest integer.

        Args:
            flat: float32 [elements], the sum over the shards of the step.
            samples: of the step.
        """
        totals = flat if self._to_groups is None else flat[self._to_groups]
        parts = torch.split(totals, [group.elements for group in self._groups])
        for group, total in zip(self._groups, parts, strict=True):
            group.apply(total, samples)
        self.reset()
