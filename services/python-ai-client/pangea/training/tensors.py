"""Where the modules of a model store their parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pangea.errors import PangeaError


class UnsupportedModel(PangeaError, ValueError):
    """The model cannot be trained in a run; the message names the tensor and the reason."""


@dataclass(frozen=True)
class TensorSlot:
    """One entry for a tensor in a module's `_parameters` or `_buffers`. A tied tensor has several slots.

    Attributes:
        name: of the tensor, as `state_dict` names it.
        registry: the module's dict that holds the entry, under `key`.
        tensor: the tensor that was in the slot when it was listed.
    """

    name: str
    registry: dict[str, Any]
    key: str
    tensor: torch.Tensor

    def current(self) -> torch.Tensor | None:
        """Returns the tensor that is in the slot now; None if there is none."""
        now = self.registry.get(self.key)
        return now if isinstance(now, torch.Tensor) else None


def tensor_slots(model: torch.nn.Module, kind: str) -> Iterator[tuple[TensorSlot, bool]]:
    """Yields each slot of the model, and whether `state_dict` includes it.

    Args:
        kind: "_parameters" or "_buffers".
    Raises:
        UnsupportedModel: for a scripted module, whose tensors are not accessible from Python.
    """
    for prefix, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModel(
                f"{prefix or 'the model'} is a torch.jit.ScriptModule, whose buffers cannot be reset between shards;"
                " train the module that it was scripted from, and script it afterwards"
            )
        registry = getattr(module, kind)
        for key, tensor in registry.items():
            if tensor is not None:
                name = f"{prefix}.{key}" if prefix else key
                yield TensorSlot(name, registry, key, tensor), key not in module._non_persistent_buffers_set
