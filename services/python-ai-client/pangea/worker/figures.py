"""What a script logs with `run.log`, until it is sent to the orchestrator."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from pangea.contract import MAX_FIGURE_NAME_BYTES, MAX_FIGURES
from pangea.errors import MisusedRun

# Of wandb.log, which would move a figure to another step.
_ARGUMENTS = {"step", "commit"}


def checked(data: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, float]:
    """Returns what was given to `run.log` as numbers by name.

    Raises:
        MisusedRun: naming the figure that is not a number, or whose name cannot be used.
    """
    if data is not None and not isinstance(data, Mapping):
        raise MisusedRun(
            f"run.log was given a {type(data).__name__}; give it names and numbers: run.log(accuracy=0.9), or"
            " run.log({'accuracy': 0.9})"
        )
    for name in _ARGUMENTS & more.keys():
        raise MisusedRun(
            f"run.log takes no {name}=, because the run knows which step a figure belongs to: delete it. To have a"
            f" figure of that name, write run.log({{{name!r}: ...}})"
        )
    return {_name(name): _number(name, value) for name, value in {**(data or {}), **more}.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name.encode(errors="replace")) <= MAX_FIGURE_NAME_BYTES:
        raise MisusedRun(
            f"run.log cannot name a figure {name!r}; a name is a text of 1 to {MAX_FIGURE_NAME_BYTES} bytes"
        )
    return name


def _number(name: str, value: Any) -> float:
    if isinstance(value, torch.Tensor):
        value = value.detach()
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        # A tensor or an array, of which only one with a single element is a number.
        with suppress(RuntimeError, ValueError):
            value = value.item()
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise MisusedRun(
        f"run.log cannot log {name!r}: it is a {type(value).__name__}, not a number. Log a mean or a single element;"
        " texts and images belong into files of your own"
    )


def add(to: dict[str, float], figures: Mapping[str, float]) -> None:
    """Adds figures to those that were logged before for the same shard or step; a later value replaces an earlier one.

    Raises:
        MisusedRun: there are more than can be sent.
    """
    if len(to.keys() | figures.keys()) > MAX_FIGURES:
        name = next(name for name in figures if name not in to)
        raise MisusedRun(
            f"run.log was called with more than {MAX_FIGURES} different names for one step, such as {name}; log fewer"
        )
    to.update(figures)


class Logged:
    """What a script has logged outside of a batch, for as long as it may have to be reported.

    Both kinds are the same on all workers. They are kept until they can no longer be of use, because what a lost
    connection takes with it is reported again.
    """

    def __init__(self) -> None:
        self._before: dict[int, dict[str, float]] = {}
        self._applied: dict[int, dict[str, float]] = {}

    def before(self, step: int, figures: Mapping[str, float]) -> None:
        """Records what was logged before the batches of a step, which counts for all its shards."""
        add(self._before.setdefault(step, {}), figures)

    def applied(self, step: int, figures: Mapping[str, float]) -> None:
        """Records what was logged while a step was applied."""
        add(self._applied.setdefault(step, {}), figures)

    def of_shards(self, step: int) -> dict[str, float]:
        """Returns what all shards of a step report; forgets what belongs to earlier steps."""
        _forget(self._before, step)
        return dict(self._before.get(step, {}))

    def of_applied(self, steps: int) -> list[tuple[str, float]]:
        """Returns what was logged while the last of `steps` was applied; forgets what belongs to earlier ones."""
        _forget(self._applied, steps - 1)
        return list(self._applied.get(steps - 1, {}).items())


def _forget(figures: dict[int, dict[str, float]], before: int) -> None:
    for step in [step for step in figures if step < before]:
        del figures[step]
