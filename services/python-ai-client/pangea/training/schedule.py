"""Schedulers that are made once the number of steps of the run is known, as OneCycleLR and cosine schedules need it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


class RunSteps(Protocol):
    """What a scheduler may depend on: `run.dataset`."""

    @property
    def steps(self) -> int:
        """Of the whole run."""

    @property
    def steps_per_epoch(self) -> int:
        """In one pass over the training samples."""


# Arguments: the optimizer, and the facts of `run.dataset`. Any, because a script's lambda has no types.
MakeScheduler: TypeAlias = Callable[[torch.optim.Optimizer, Any], LRScheduler]


# A rate that falls below this part of what it was makes no difference.
_LEAST = 1e-9
_DOUBT = (
    "{} {}. A run steps a scheduler after each step, not once an epoch: build it for steps, by a function of the"
    " optimizer and run.dataset (scheduler=lambda optimizer, data: ...), or step it in run.after_step(fn,"
    " state={{'scheduler': scheduler}}) where step.ends_epoch"
)


def doubt(scheduler: LRScheduler, facts: RunSteps) -> str | None:
    """Returns why a scheduler seems to be built for epochs, or for another number of steps; else None."""
    what = _what_is_odd(scheduler, facts)
    return _DOUBT.format(type(scheduler).__name__, what) if what is not None else None


def _what_is_odd(scheduler: LRScheduler, facts: RunSteps) -> str | None:
    steps = facts.steps
    if isinstance(scheduler, lr_scheduler.CosineAnnealingLR) and scheduler.T_max < steps:
        return f"has T_max={scheduler.T_max}, but the run has {steps} steps, so the rate rises again"
    if isinstance(scheduler, lr_scheduler.OneCycleLR) and scheduler.total_steps != steps:
        return f"has total_steps={scheduler.total_steps}, but the run has {steps} steps"
    if isinstance(scheduler, lr_scheduler.MultiStepLR):
        last = max(scheduler.milestones, default=steps)
        return (
            f"has its last milestone at step {last}, within the first epoch" if last < facts.steps_per_epoch else None
        )
    if isinstance(scheduler, (lr_scheduler.StepLR, lr_scheduler.ExponentialLR)):
        times = steps // getattr(scheduler, "step_size", 1)
        return f"multiplies the rate by {scheduler.gamma:g} {times} times" if scheduler.gamma**times < _LEAST else None
    return None


class OtherSteps(ValueError):
    """A schedule was made for another number of steps than the run has now; the message says what to do."""


class MadeSchedulers:
    """The schedulers that functions of the script make, and the number of steps that they are made for.

    That number is saved: a run that is resumed with more epochs has more steps, for which its schedule is another one.

    Args:
        makers: by the number of the optimizer.
    Attributes:
        take_changes: whether a saved schedule may be that of another number of steps.
        differs: whether that which was loaded last is.
    """

    def __init__(self, makers: Mapping[int, MakeScheduler]) -> None:
        self._makers = makers
        self._facts: RunSteps | None = None
        self.take_changes = False
        self.differs = False

    def make(self, optimizers: list[torch.optim.Optimizer], facts: RunSteps) -> dict[int, LRScheduler]:
        """Makes the schedulers, by the number of the optimizer."""
        self._facts = facts
        return {number: make(optimizers[number], facts) for number, make in self._makers.items()}

    def remake(self, optimizers: list[torch.optim.Optimizer], step: int) -> dict[int, LRScheduler]:
        """Makes them again, as they are in a run of its steps after `step` of them."""
        if self._facts is None:
            return {}
        for number in self._makers:
            for group in optimizers[number].param_groups:
                group["lr"] = group.get("initial_lr", group["lr"])
        made = self.make(optimizers, self._facts)
        with warnings.catch_warnings():
            # torch warns that the optimizer has made no step.
            warnings.simplefilter("ignore", UserWarning)
            for scheduler in made.values():
                for _ in range(0 if isinstance(scheduler, ReduceLROnPlateau) else step):
                    scheduler.step()
        return made

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of steps that they are made for."""
        return {"steps": self._facts.steps if self._facts is not None else 0}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Compares the number of steps.

        Raises:
            OtherSteps: it is another one, and changes are not to be taken.
        """
        own = self.state_dict()["steps"]
        self.differs = state["steps"] != own
        if self.differs and not self.take_changes:
            raise OtherSteps(
                f"the schedule was made for {state['steps']} steps, but the run has {own} now; resume it with"
                " --take-changes to continue with the schedule for these, or with as many epochs as before"
            )
