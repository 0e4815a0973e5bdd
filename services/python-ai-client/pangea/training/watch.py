"""Detects when a script changes what only the run may change: parameters, and the settings of the optimizer.

Workers apply the same steps to the same state. Any other change that a script makes, in its loop or in a forward pass,
happens once for each batch that this worker computes, so the result would depend on how the batches are distributed.

An in-place change increments a tensor's version, and an assignment to `.data` changes its address: both are checked for
each batch. An in-place change through `.data` does neither. It is detected by checksums over the bytes: of all
parameters in the first steps, and of 1 MiB of them in each later step, in rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pangea import _native
from pangea.errors import BrokenPromise
from pangea.training.tensors import TensorSlot

# Steps of this process in which all bytes are checked.
_FULL_STEPS = 3
# Bytes of the parameters that are checked in each later step.
_PART_BYTES = 1 << 20
# Whole numbers by the bytes of an element.
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_AFTER = "write it as run.after_step(fn), which runs once a step on each worker, on the same parameters"
_PARAMETER = {
    "pass": "in the forward or backward pass; build it into the model (torch.nn.utils.parametrize), or " + _AFTER,
    "loop": "in the loop, outside of the run's step; " + _AFTER,
}
_SETTING = {
    "lr": "give pangea.join a scheduler, or rate=lambda step: ... for a rate as a function of the step",
    "other": "change it in run.before_step(fn), which runs once a step on each worker",
}


def checksum(tensor: torch.Tensor) -> int | torch.Tensor:
    """Returns a checksum over the bytes of a tensor, which any single change alters; about as fast as memory.

    On an accelerator it is a scalar there, so that nobody has to wait for it before it is compared.
    """
    if tensor.device.type != "cpu":
        return device_checksum(tensor.detach())
    values = tensor.detach().contiguous()
    return _native.checksums([(values.data_ptr(), values.nbytes)])[0]


def device_checksum(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the elements as whole numbers, whose order does not matter."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.view(_WHOLE[real.element_size()]).sum(dtype=torch.int64)


def _different(now: Sequence[int | torch.Tensor], before: Sequence[int | torch.Tensor]) -> list[bool]:
    """Compares checksums of an accelerator, and waits for it once."""
    one, other = (torch.stack([torch.as_tensor(value) for value in values]) for values in (now, before))
    return [bool(differs) for differs in (one != other).tolist()]


class ParameterWatch:
    """Detects changes of parameters between two baselines.

    Args:
        parameters: every slot of a parameter in the model, including frozen ones.
    """

    def __init__(self, parameters: Sequence[TensorSlot]) -> None:
        self._parameters = parameters
        self._steps = 0
        self._next = 0
        self.record_baseline()

    @property
    def in_full(self) -> bool:
        """Whether all bytes are checked, as in the first steps."""
        return self._steps <= _FULL_STEPS

    def record_baseline(self) -> None:
        """Makes the current values those that must not change until the next step."""
        self._steps += 1
        self._versions = [(slot.tensor._version, slot.tensor.data_ptr()) for slot in self._parameters]
        chosen = range(len(self._parameters)) if self.in_full else self._part()
        self._summed, self._sums = list(chosen), self._checksums(chosen)

    def _part(self) -> list[int]:
        """Returns the indices of the next parameters in rotation, at least one; of a large one, 1 MiB is checked."""
        part, size = [], 0
        for _ in range(len(self._parameters)):
            if size >= _PART_BYTES:
                break
            index = self._next % len(self._parameters)
            part.append(index)
            size += self._parameters[index].tensor.nbytes
            self._next += 1
        return part

    def _checksums(self, indices: Sequence[int]) -> Sequence[int | torch.Tensor]:
        """Returns the checksum of each of these parameters, or of the piece of a large one whose turn it is."""
        tensors = [self._parameters[index].tensor for index in indices]
        if all(tensor.is_cpu and tensor.is_contiguous() for tensor in tensors):
            # One call for all: most parameters are small.
            pieces = [self._piece(tensor) for tensor in tensors]
            return _native.checksums(
                [(tensor.data_ptr() + start, size) for tensor, (start, size) in zip(tensors, pieces, strict=True)]
            )
        return [self._checksum(tensor.detach()) for tensor in tensors]

    def _checksum(self, tensor: torch.Tensor) -> int | torch.Tensor:
        start, size = self._piece(tensor)
        if size == tensor.nbytes:
            return checksum(tensor)
        width = tensor.element_size()
        return checksum(tensor.reshape(-1)[start // width : (start + size) // width])

    def _piece(self, tensor: torch.Tensor) -> tuple[int, int]:
        """Returns the first byte and the number of bytes that are checked."""
        size = tensor.nbytes
        if self.in_full or size <= _PART_BYTES:
            return 0, size
        start = self._steps % -(-size // _PART_BYTES) * _PART_BYTES
        return start, min(_PART_BYTES, size - start)

    def check(self, where: str, *, bytes_too: bool) -> None:
        """Checks that no parameter has changed since the baseline.

        Args:
            where: "pass" or "loop": where a change would have been made.
            bytes_too: compare the checksums as well.
        Raises:
            BrokenPromise: naming the first parameter that changed, and what to write instead.
        """
        for slot, (version, address) in zip(self._parameters, self._versions, strict=True):
            tensor = slot.tensor
            # Three times for each shard, so without the call of `slot.current`.
            if slot.registry.get(slot.key) is not tensor or tensor._version != version or tensor.data_ptr() != address:
                raise self._broken(slot.name, where)
        if bytes_too:
            for index in self._changed():
                raise self._broken(self._parameters[index].name, where)

    def _changed(self) -> list[int]:
        """Returns the parameters whose bytes differ from those of the baseline, of the ones that are checked."""
        now = self._checksums(self._summed)
        if any(isinstance(value, torch.Tensor) for value in now):
            differ = _different(now, self._sums)
        else:
            differ = [bool(value != before) for value, before in zip(now, self._sums, strict=True)]
        return [index for index, is_different in zip(self._summed, differ, strict=True) if is_different]

    @staticmethod
    def _broken(name: str, where: str) -> BrokenPromise:
        return BrokenPromise(f"the parameter {name} was changed {_PARAMETER[where]}")


def _settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [
        {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in group.items()
            if name != "params"
        }
        for group in optimizer.param_groups
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and torch.equal(one, other)
    return bool(one == other)


class SettingsWatch:
    """Detects changes of the settings of an optimizer's groups: rates, momenta, decay, and their parameters."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self.record_baseline()

    def record_baseline(self) -> None:
        """Makes the current settings those that must not change until the next step."""
        self._settings = _settings(self._optimizer)
        self._members = [[id(parameter) for parameter in group["params"]] for group in self._optimizer.param_groups]

    def check(self) -> None:
        """Checks that no setting has changed since the baseline.

        Raises:
            BrokenPromise: naming the first setting that changed, and what to write instead.
        """
        groups = self._optimizer.param_groups
        if [[id(parameter) for parameter in group["params"]] for group in groups] != self._members:
            raise BrokenPromise(
                "the groups of the optimizer were changed in the loop, after the run was joined; give it all its"
                " parameters before pangea.join"
            )
        for number, (group, before) in enumerate(zip(groups, self._settings, strict=True)):
            for name, value in group.items():
                # A tensor may have been changed in place; everything else that is the same object is the same value.
                if value is before.get(name) and value is not None:
                    continue
                if name != "params" and (name not in before or not _same(value, before[name])):
                    was = before.get(name, "not set")
                    advice = _SETTING.get(name, _SETTING["other"])
                    what = "the learning rate" if name == "lr" else name
                    raise BrokenPromise(
                        f"{what} of the optimizer's group {number} was changed in the loop, from {was} to {value};"
                        f" {advice}"
                    )
