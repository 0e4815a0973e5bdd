"""Describes how a step changes the parameters: optimizer, settings, scheduler, clipping. Workers compare it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from pangea.contract import MAX_TRAINING_BYTES


def _plain(value: Any) -> Any:
    """Returns a value as JSON that keeps every bit of a number; for types that JSON lacks, the type's name."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return [repr(item) for item in value.detach().reshape(-1).tolist()]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return type(value).__name__


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def describe_training(
    optimizers: Sequence[torch.optim.Optimizer],
    schedulers: Sequence[LRScheduler | None],
    clip_norm: float | None,
    rate: Callable[[int], float] | None,
    device: str = "cpu",
    *,
    made: bool = False,
) -> str:
    """Returns JSON with sorted keys; equal for all workers of a run, because they run the same script.

    Args:
        optimizers, schedulers, clip_norm, rate, device: of the run.
        made: whether schedulers are made later, for the steps of the run.
    """
    groups = [
        {
            "parameters": len(group["params"]),
            **{name: _plain(value) for name, value in group.items() if name != "params"},
        }
        for optimizer in optimizers
        for group in optimizer.param_groups
    ]
    description: dict[str, Any] = {"optimizer": ", ".join(map(_name, optimizers)), "groups": groups}
    given = [scheduler for scheduler in schedulers if scheduler is not None]
    if given:
        settings = [_plain(scheduler.state_dict()) for scheduler in given]  # type: ignore[no-untyped-call]
        description["scheduler"] = ", ".join(map(_name, given))
        description["scheduler_settings"] = settings[0] if len(optimizers) == 1 else settings
    if clip_norm is not None:
        description["clip_norm"] = repr(clip_norm)
    if device != "cpu":
        # Not in the description of a run on the CPU, which is that of an earlier release.
        description["device"] = device
    if made:
        description["scheduler_made"] = "for the steps of the run"
    if rate is not None:
        description["rate"] = "a function of the step"
    text = json.dumps(description, sort_keys=True)
    if len(text.encode()) > MAX_TRAINING_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()
        text = json.dumps({"optimizer": description["optimizer"], "sha256": digest}, sort_keys=True)
    return text


def same_structure(one: str, other: str) -> bool:
    """Returns whether two descriptions have the same optimizer and group sizes: the state of one fits the other."""
    first, second = json.loads(one), json.loads(other)
    if "groups" not in first or "groups" not in second:
        return False
    sizes = [[group["parameters"] for group in description["groups"]] for description in (first, second)]
    return bool(first["optimizer"] == second["optimizer"]) and sizes[0] == sizes[1]


def differing_settings(one: str, other: str) -> list[list[str]]:
    """Returns, for each group, the names of the settings that differ between two descriptions of the same structure."""
    groups = zip(json.loads(one)["groups"], json.loads(other)["groups"], strict=True)
    return [
        sorted(name for name in {*first, *second} if first.get(name) != second.get(name)) for first, second in groups
    ]
