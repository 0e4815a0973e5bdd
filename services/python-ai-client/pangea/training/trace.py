"""Records the outputs of a model's modules, to find the first that differs between two computations of a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from pangea.training.hashing import tensor_bytes


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _digest(value: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for tensor in _tensors(value):
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


class OutputTrace:
    """Records (module, digest of its inputs, digest of its outputs) for each call between `start` and `stop`."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self.entries: list[tuple[str, str, str]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def start(self) -> None:
        """Clears the entries and starts recording."""
        self.stop()
        self.entries = []
        # Forward hooks of a container run after those of its children, so the innermost module that differs comes
        # first.
        self._hooks = [
            module.register_forward_hook(self._hook(name or "the model"))
            for name, module in self._model.named_modules()
        ]

    def stop(self) -> None:
        """Stops recording the outputs of the modules."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _hook(self, name: str) -> Any:
        def hook(_module: torch.nn.Module, inputs: Any, output: Any) -> None:
            self.entries.append((name, _digest(inputs), _digest(output)))

        return hook


def first_difference(one: list[tuple[str, str, str]], other: list[tuple[str, str, str]]) -> str:
    """Returns a sentence about the first call in which two computations differ."""
    for (name, inputs, outputs), (other_name, other_inputs, other_outputs) in zip(one, other, strict=False):
        if name != other_name:
            return f"the model calls {name} where it called {other_name} before"
        if inputs != other_inputs:
            return f"the input of {name} already differs: check what the script does between the batch and {name}"
        if outputs != other_outputs:
            return (
                f"{name} is the first module whose output differs, from equal inputs: it keeps state, or draws random"
                " numbers"
            )
    if len(one) != len(other):
        return f"the model calls {len(one)} modules in one order and {len(other)} in the other"
    return "all modules return equal outputs: check what the script computes from them, and the backward pass"
