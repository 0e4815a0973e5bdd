"""Detects when a script changes what only the run may change: parameters, and the settings of the optimizer.

Workers apply the same steps to the same state. Any other change that a script makes, in its loop or in a forward pass,
happens once for each batch that this worker computes, so the result would depend on how the batches are distributed.

An in-place change increments a tensor's version, and an assignment to `.data` changes its address: both are checked for
each batch. An in-place change through `.data` does neither. It is detected by checksums over the bytes: of all
parameters in the first steps, and of 1 MiB of them in each later step, in rotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

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
    flat = tensor.detach().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy()
    whole = data.size // 8 * 8
    total = int(np.add.reduce(data[:whole].view(np.uint64), dtype=np.uint64)) if whole else 0
    return total ^ int.from_bytes(data[whole:].tobytes(), "little")


def device_checksum(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the elements as whole numbers, whose order does not matter."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.view(_WHOLE[real.element_size()]).sum(dtype=torch.int64)


def _different(now: Mapping[int, int | torch.Tensor], before: Mapping[int, int | torch.Tensor]) -> list[int]:
    """Compares checksums of an accelerator, and waits for it once."""
    pairs = [(torch.as_tensor(value), torch.as_tensor(before[index])) for index, value in now.items()]
    differ = torch.stack([one for one, _ in pairs]) != torch.stack([other for _, other in pairs])
    return [index for index, is_different in zip(now, differ.tolist(), strict=True) if is_different]


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
        self._sums = {index: self._checksum(index) for index in chosen}

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

    def _checksum(self, index: int) -> int | torch.Tensor:
        tensor = self._parameters[index].tensor.detach()
        most = _PART_BYTES // max(1, tensor.element_size())
        if self.in_full or tensor.numel() <= most:
            return checksum(tensor)
        pieces = -(-tensor.numel() // most)
        piece = self._steps % pieces
        return checksum(tensor.reshape(-1)[piece * most : (piece + 1) * most])

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
        now = {index: self._checksum(index) for index in self._sums}
        if any(isinstance(value, torch.Tensor) for value in now.values()):
            return _different(now, self._sums)
        return [index for index, value in now.items() if value != self._sums[index]]

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
