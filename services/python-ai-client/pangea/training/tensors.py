"""Where the modules of a model keep their tensors."""

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
    """Where a module keeps a tensor. A tied tensor has several places."""

    name: str
    registry: dict[str, Any]
    key: str
    tensor: torch.Tensor

    def current(self) -> torch.Tensor | None:
        """What is there now."""
        now = self.registry.get(self.key)
        return now if isinstance(now, torch.Tensor) else None


def tensor_slots(model: torch.nn.Module, kind: str) -> Iterator[tuple[TensorSlot, bool]]:
    """Each place of a tensor, and whether `state_dict` holds it.

    Args:
        kind: "_parameters" or "_buffers".
    Raises:
        UnsupportedModel: for a scripted module, which keeps its tensors out of reach.
    """
    for prefix, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModel(
                f"{prefix or 'the model'} is a torch.jit.ScriptModule, whose buffers cannot be put back between two shards; train the module that it was made of, and script it afterwards"
            )
        registry = getattr(module, kind)
        for key, tensor in registry.items():
            if tensor is not None:
                name = f"{prefix}.{key}" if prefix else key
                yield TensorSlot(name, registry, key, tensor), key not in module._non_persistent_buffers_set
