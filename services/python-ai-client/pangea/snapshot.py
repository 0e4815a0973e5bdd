"""A worker's whole state (model, optimizer, step) as the bytes of a safetensors file: no pickle, nothing that runs.

Tensors are `model.NAME`, `optimizer.state.INDEX.KEY` and `optimizer.group.INDEX.KEY`; all else of the optimizer is JSON in the file's metadata.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import safetensors.torch
import torch

_FORMAT = "pangea/snapshot/1"


class BadSnapshot(ValueError):
    """The bytes are no snapshot of this model and optimizer."""


def _to_json(value: Any) -> Any:
    """Keeps tuples apart from lists, since optimizers compare them."""
    if isinstance(value, tuple):
        return {"tuple": [_to_json(item) for item in value]}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise BadSnapshot(f"the optimizer's state holds a {type(value).__name__}, which a snapshot cannot carry")


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(_from_json(item) for item in value["tuple"])
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return value


def encode(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> bytes:
    """The state after `step` steps."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    state = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.state.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = _to_json(value)
    groups = []
    for number, group in enumerate(state["param_groups"]):
        for key, value in group.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.group.{number}.{key}"] = value
        groups.append({key: _to_json(value) for key, value in group.items() if not isinstance(value, torch.Tensor)})
    # One key: safetensors writes several in no fixed order, and the same state shall be the same bytes.
    metadata = {"pangea": json.dumps({"format": _FORMAT, "step": step, "state": numbers, "groups": groups})}
    # A tensor may share memory with another (tied weights); the file holds each on its own.
    return safetensors.torch.save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, metadata)


def _metadata(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata: dict[str, Any] = json.loads(header.get("__metadata__", {}).get("pangea", "{}"))
    if metadata.get("format") != _FORMAT:
        raise BadSnapshot(f"not a snapshot: its format is {metadata.get('format')!r}, wanted {_FORMAT!r}")
    return metadata


def decode_into(data: bytes, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads a snapshot.

    Args:
        data: what `encode` gave.
        model, optimizer: of the same structure as those that were encoded; overwritten.
    Returns:
        the number of steps applied.
    Raises:
        BadSnapshot: with the reason; the model may then be half loaded and must not be used.
    """
    try:
        tensors = safetensors.torch.load(data)
        rest = _metadata(data)
        model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")})
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer.state."):
                index, key = name.removeprefix("optimizer.state.").split(".", 1)
                state.setdefault(int(index), {})[key] = tensor
        for index, entries in rest["state"].items():
            state.setdefault(int(index), {}).update({key: _from_json(value) for key, value in entries.items()})
        groups = [{key: _from_json(value) for key, value in group.items()} for group in rest["groups"]]
        for name, tensor in tensors.items():
            if name.startswith("optimizer.group."):
                number, key = name.removeprefix("optimizer.group.").split(".", 1)
                groups[int(number)][key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        return int(rest["step"])
    except BadSnapshot:
        raise
    except Exception as error:
        raise BadSnapshot(f"the snapshot does not fit this model and optimizer: {error}") from error
