"""Finds what changes once a step and is in no checkpoint, such as a teacher that a function of a step averages.

A worker that joins late, and a run that is resumed, begin with the model, the optimizers, and what
`run.after_step(state=...)` names. Anything else would begin anew there, and the bits would depend on who died, and
when. What the functions of a step, and an optimizer that is not torch's, can reach is compared before and after a step:
variables, attributes, and what is in them. Only a part of a large tensor is compared, since an average changes all of
it.
"""

from __future__ import annotations

import functools
import hashlib
import random
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from pangea.errors import BrokenPromise, place_of
from pangea.training.snapshot import HasState

# Hashes by the name of a value, for each kind and name of what reaches it.
Seen: TypeAlias = Mapping[tuple[str, str], Mapping[str, bytes]]

# Steps of this process that are watched: those of warm-up and of ends of epochs are seen later.
_FIRST_STEPS = 3
_MAX_DEPTH = 8
_MAX_VALUES = 20_000
# Of a list or dict, and elements of a tensor.
_MAX_ITEMS = 1000
_MAX_ELEMENTS = 4096
# Packages whose objects keep no state of a script; figures of torchmetrics do not act on what is trained.
_FOREIGN = ("pangea", "torchmetrics", "builtins", "typing", "logging", "pathlib", "threading")
# Written by torch, and not part of the arithmetic.
_COUNTED_BY_TORCH = ("_step_count", "_opt_called")
_ADVICE = (
    "a worker that joins late, or a run that is resumed, would begin with a different one. Give it to"
    " run.after_step(fn, state={{{name!r}: {name}}}), which takes anything with state_dict and load_state_dict, or a"
    " dict of numbers and tensors; or make it part of the model"
)
_OPTIMIZER_ADVICE = (
    "a worker that joins late, or a run that is resumed, would begin with a different one. Keep it in self.state[p] or"
    " in the groups of the optimizer, or write it as run.after_step(fn, state=...)"
)


class DictState:
    """A dict of a script as state that is saved; loading changes it in place.

    Args:
        content: numbers, text, tensors, and lists and dicts of them.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def state_dict(self) -> dict[str, Any]:
        """Returns the dict."""
        return self.content

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Replaces the content of the dict by `state`."""
        self.content.clear()
        self.content.update(state)


def _is_foreign(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in _FOREIGN


def _names_in(code: types.CodeType) -> Iterator[str]:
    """Yields the names of globals that code may use, with those of functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yields the variables of a script that a function uses, with their values."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for number, value in enumerate(function.__defaults__ or ()):
        yield f"default {number + 1}", value
    yield from (function.__kwdefaults__ or {}).items()


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what a value holds, each with what is added to its name."""
    if isinstance(value, types.FunctionType):
        if value.__module__.partition(".")[0] not in ("torch", *_FOREIGN):
            yield from _variables(value)
    elif isinstance(value, types.MethodType):
        yield type(value.__self__).__name__, value.__self__
        yield "", value.__func__
    elif isinstance(value, functools.partial):
        yield "", value.func
        yield from ((f"argument {number + 1}", part) for number, part in enumerate(value.args))
        yield from value.keywords.items()
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in _first(value.items()))
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", part) for number, part in enumerate(_first(value)))
    elif isinstance(value, torch.nn.Module):
        for group in ("_parameters", "_buffers", "_modules"):
            yield from ((f".{name}", part) for name, part in vars(value)[group].items())
        yield from ((f".{name}", part) for name, part in vars(value).items() if not name.startswith("_"))
    elif hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType)) and not _is_foreign(value):
        yield from ((f".{name}", part) for name, part in vars(value).items())


def _first(items: Iterable[Any]) -> list[Any]:
    try:
        return [item for _, item in zip(range(_MAX_ITEMS), items, strict=False)]
    except RuntimeError:  # another thread of the script changes it
        return []


def _digest(value: Any) -> bytes | None:
    """Returns a hash of what acts on training by its value: tensors, generators, schedulers; None for the rest."""
    if isinstance(value, torch.Tensor):
        return _tensor_digest(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return _tensor_digest(torch.from_numpy(value)) if value.dtype.kind in "fiub" else None
    if isinstance(value, torch.Generator):
        return _tensor_digest(value.get_state())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state).encode()
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state(legacy=False)).encode()
    if isinstance(value, random.Random):
        return repr(value.getstate()).encode()
    if isinstance(value, LRScheduler):
        return repr({name: part for name, part in vars(value).items() if isinstance(part, (int, float, list))}).encode()
    return None


def _tensor_digest(tensor: torch.Tensor) -> bytes | None:
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return None
    flat = tensor.detach().reshape(-1)
    sample = flat[:: max(1, flat.numel() // _MAX_ELEMENTS)].contiguous().cpu()
    return hashlib.blake2b(sample.view(torch.uint8).numpy().tobytes(), digest_size=16).digest()


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


class _Walk:
    """What can be reached from some values: hashes by name, and plain numbers of an optimizer.

    Args:
        saved: objects that are saved, or are the run's own; not looked into.
        storages: memory of tensors that are saved.
    """

    def __init__(self, saved: Iterable[object], storages: set[int]) -> None:
        self._seen = {id(value) for value in saved}
        self._storages = storages
        # Values are kept, so that no other one gets their ID meanwhile.
        self._held: list[Any] = []
        self.digests: dict[str, bytes] = {}

    def add(self, name: str, value: Any, depth: int = 0) -> None:
        if id(value) in self._seen or depth > _MAX_DEPTH or len(self._held) > _MAX_VALUES:
            return
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return
        self._seen.add(id(value))
        self._held.append(value)
        if isinstance(value, torch.Tensor) and _storage(value) in self._storages:
            return
        if (digest := _digest(value)) is not None:
            self.digests[name] = digest
            return
        for part, held in _parts(value):
            self.add(f"{name}{part}" if part.startswith((".", "[")) else part or name, held, depth + 1)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _counts(optimizer: torch.optim.Optimizer) -> dict[str, bytes]:
    """Returns the numbers of an optimizer outside of its groups, unless its own state_dict seems to have them."""
    if set(optimizer.state_dict()) - {"state", "param_groups"}:
        return {}
    return {
        f"self.{name}": repr(value).encode()
        for name, value in vars(optimizer).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _COUNTED_BY_TORCH
    }


class UnsavedWatch:
    """Compares what the functions of a step, and optimizers, can reach, before and after some of the steps.

    Args:
        model, optimizers: of the run.
    """

    def __init__(self, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._own = [one for one in optimizers if not type(one).__module__.startswith("torch.optim.")]
        self._steps = 0

    def is_due(self, step: int, *, ends_epoch: bool) -> bool:
        """Returns whether to watch a step: the first ones of this process, ends of epochs, and ever fewer others."""
        self._steps += 1
        return self._steps <= _FIRST_STEPS or ends_epoch or step & (step - 1) == 0

    def look(self, functions: Mapping[str, list[Callable[..., Any]]], state: Mapping[str, HasState]) -> Seen:
        """Returns hashes of what can be reached, by the name of each value, for each function and optimizer.

        Args:
            functions: of the script, by how they were registered.
            state: that is saved besides model and optimizers, by name.
        """
        if not self._own and not any(functions.values()):
            return {}
        # What a module has besides parameters and buffers, its forward pass makes anew, as weight_norm and pruning do.
        saved: list[object] = [*self._model.modules(), *self._optimizers]
        saved += [kept.content if isinstance(kept, DictState) else kept for kept in state.values()]
        tensors = [*self._model.parameters(), *self._model.buffers()]
        for optimizer in self._optimizers:
            # Those of torch have nothing else, and a hook of the script on their state_dict is for checkpoints.
            tensors += _tensors(optimizer.state_dict() if optimizer in self._own else optimizer.state)
        for holder in state.values():
            tensors += _tensors(holder.state_dict())
        storages = {_storage(tensor) for tensor in tensors}
        seen: dict[tuple[str, str], Mapping[str, bytes]] = {}
        for kind, those in functions.items():
            for function in those:
                walk = _Walk(saved, storages)
                walk.add("", function)
                seen[kind, place_of(function)] = walk.digests
        for optimizer in self._own:
            walk = _Walk(saved, storages)
            for name, value in vars(optimizer).items():
                if name not in ("state", "param_groups", "defaults"):
                    walk.add(f"self.{name}", value)
            seen["optimizer", type(optimizer).__name__] = {**walk.digests, **_counts(optimizer)}
        return seen


def compare(before: Seen, after: Seen) -> None:
    """Compares what was there before a step with what is there after it; what is new is not a difference.

    Raises:
        BrokenPromise: naming the first value that the step has changed, and what to write instead.
    """
    for (kind, name), values in before.items():
        for part, digest in values.items():
            if after.get((kind, name), {}).get(part, digest) == digest:
                continue
            if kind == "optimizer":
                raise BrokenPromise(
                    f"{name}.step() changes {part}, which its state_dict does not have, so it is in no checkpoint:"
                    f" {_OPTIMIZER_ADVICE}"
                )
            variable = part.partition(".")[0].partition("[")[0]
            raise BrokenPromise(
                f"the function of run.{kind}{name} changes {part}, which is in no checkpoint:"
                f" {_ADVICE.format(name=variable if variable.isidentifier() else 'object')}"
            )
