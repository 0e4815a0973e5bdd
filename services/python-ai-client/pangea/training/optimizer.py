"""Applies a step to the parameters: the optimizer, its schedule, gradient clipping, and the script's own functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pangea.errors import BrokenPromise, PangeaError
from pangea.training import snapshot
from pangea.training.description import describe_training, differing_settings, same_structure
from pangea.training.determinism import seed_after_step
from pangea.training.gradients import Parameters
from pangea.training.guards import Guards
from pangea.training.snapshot import HasState
from pangea.training.watch import SettingsWatch


class UnsupportedOptimizer(PangeaError, ValueError):
    """The optimizer or scheduler cannot be used in a run; the message says which one to use instead."""


_REFUSED: dict[type[torch.optim.Optimizer], str] = {
    torch.optim.LBFGS: (
        "it computes the loss several times within a step (a closure), which workers cannot do together; use AdamW, or"
        " SGD with momentum"
    ),
    torch.optim.SparseAdam: (
        "it needs sparse gradients, which a run cannot add up; build the layers with sparse=False and use Adam"
    ),
}


def _refuse_unsupported(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Checks that a run supports the optimizer, and that all its parameters belong to the model.

    Raises:
        UnsupportedOptimizer: it does not.
    """
    for refused, reason in _REFUSED.items():
        if isinstance(optimizer, refused):
            raise UnsupportedOptimizer(f"{type(optimizer).__name__} cannot train in a run: {reason}")
    known = {id(parameter) for parameter in model.parameters()}
    for number, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if id(parameter) not in known:
                raise UnsupportedOptimizer(
                    f"group {number} of the optimizer holds a parameter {tuple(parameter.shape)} that does not belong"
                    " to the model; put everything that is trained into one module"
                )


@dataclass(frozen=True)
class Step:
    """A step of the run, as passed to the functions of `run.before_step` and `run.after_step`.

    Attributes:
        number: counts over the whole run, from 0.
        epoch: from 0.
        ends_epoch: whether it is the last one of its epoch.
        samples: of all its shards.
        loss: of all its shards; NaN if nothing counted.
    """

    number: int
    epoch: int
    ends_epoch: bool
    samples: int
    loss: float


StepFunction = Callable[[Step], Any]


class Training:
    """A model's parameters and everything that changes them in a step, identical on every worker.

    Args:
        optimizer: over parameters of this model.
        scheduler: of this optimizer's learning rates; stepped once after each step of the optimizer.
        clip_norm: maximum global norm of a step's gradient; above 0.
        rate: the learning rate of all groups as a function of the step's number; instead of a scheduler.
    Raises:
        UnsupportedOptimizer: naming what cannot be used.
        BadSnapshot: naming the part of their state that cannot be sent to another worker.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None = None,
        clip_norm: float | None = None,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        _refuse_unsupported(parameters.model, optimizer)
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise UnsupportedOptimizer(
                f"{type(scheduler).__name__} was built for another optimizer than the one given to pangea.join"
            )
        if scheduler is not None and rate is not None:
            raise UnsupportedOptimizer(
                "both scheduler and rate are given, and each sets the learning rate; give one of them"
            )
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}; it must be above 0, or None for no bound")
        self.parameters = parameters
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.clip_norm = clip_norm
        self._rate = rate
        self.before: list[StepFunction] = []
        self.after: list[StepFunction] = []
        self.state: dict[str, HasState] = {}
        self.guards: Guards | None = None
        # Computed before any step: settings such as the learning rate change during training.
        self.description = describe_training(optimizer, scheduler, clip_norm, rate)
        snapshot.check(parameters.model, optimizer, scheduler)
        self._settings = SettingsWatch(optimizer)
        # Whether the script's functions of before_step and after_step may be running.
        self.in_step = False

    def guard(self) -> None:
        """Starts refusing calls of the script that the run makes itself, until `unguard`."""
        self.guards = Guards(self.parameters.model, self.optimizer, self.parameters.on_broken_promise)

    def unguard(self) -> None:
        """Restores torch and the optimizer."""
        if self.guards is not None:
            self.guards.remove()
            self.guards = None

    def check(self, where: str, *, bytes_too: bool = False) -> None:
        """Checks that the script has not changed what only the run may change; see `Parameters.check`."""
        self._check_settings()
        self.parameters.check(where, bytes_too=bytes_too)

    def _check_settings(self) -> None:
        try:
            self._settings.check()
        except BrokenPromise as error:
            if self.parameters.on_broken_promise is None:
                raise
            self.parameters.on_broken_promise(str(error))
            self._settings.record_baseline()

    def apply(
        self,
        total: torch.Tensor,
        samples: int,
        loss_sum: float,
        divisor: float | None = None,
        step: Step | None = None,
        seed: int = 0,
    ) -> None:
        """Applies a step.

        Args:
            total: flat float32, the sum over all shards of the step; only read.
            samples: of the step.
            loss_sum: over all shards.
            divisor: of the gradient sum and the loss sum; default: the samples.
            step: passed to the script's functions.
            seed: of the run; seeds the random numbers of these functions.
        Raises:
            BrokenPromise: naming what the script has changed.
        """
        self._check_settings()
        self.parameters.begin_step(total, samples, divisor)
        count = samples if divisor is None else divisor
        mean = loss_sum / count if count else float("nan")
        step = step or Step(0, 0, False, samples, mean)
        if self.before or self.after:
            seed_after_step(seed, step.number)
        self.in_step = True
        try:
            if self.guards is None:
                self._change(step)
            else:
                with self.guards.suspended():
                    self._change(step)
        finally:
            self.in_step = False
        self.parameters.end_step()
        self._settings.record_baseline()

    def _change(self, step: Step) -> None:
        """Runs everything that changes parameters, in order."""
        for function in self.before:
            function(step)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.trainable.values(), self.clip_norm)
        if self._rate is not None:
            rate = self._rate(step.number)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self.optimizer.step()
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(step.loss)
        elif self.scheduler is not None:
            self.scheduler.step()
        self.parameters.clear_gradients()
        for function in self.after:
            function(step)

    def encode(self, position: snapshot.Position) -> bytes:
        """Returns the complete state as a snapshot."""
        return snapshot.encode(
            self.parameters.model, self.optimizer, self.scheduler, position, self.state, self.description
        )

    def state_parts(self, position: snapshot.Position) -> list[memoryview]:
        """Returns the bytes of `encode` in parts, without copying the tensors; valid until the state changes."""
        return snapshot.parts(
            self.parameters.model, self.optimizer, self.scheduler, position, self.state, self.description
        )

    def load(self, data: bytes, *, take_changes: bool = False) -> snapshot.Position:
        """Loads the state of another worker, or of a checkpoint; see `snapshot.decode_into`.

        Args:
            data: a snapshot.
            take_changes: where its settings differ from this script's, use this script's; a different optimizer or
                scheduler starts from scratch.
        """
        # Read only if needed: `training_of` parses the whole snapshot.
        theirs = snapshot.training_of(data) if take_changes else ""
        if theirs and theirs != self.description:
            position = self._load_changed(data, theirs)
        else:
            position = snapshot.decode_into(data, self.parameters.model, self.optimizer, self.scheduler, self.state)
        self.parameters.record_baseline()
        self._settings.record_baseline()
        return position

    def _load_changed(self, data: bytes, theirs: str) -> snapshot.Position:
        """Loads a state with different settings, and keeps this script's where they differ."""
        model, optimizer = self.parameters.model, self.optimizer
        if not same_structure(theirs, self.description):
            return snapshot.load_model(data, model)
        changed = [
            {name: group[name] for name in names if name in group}
            for group, names in zip(optimizer.param_groups, differing_settings(theirs, self.description), strict=True)
        ]
        position = snapshot.decode_into(data, model, optimizer, self.scheduler, self.state, other_scheduler=True)
        for group, settings in zip(optimizer.param_groups, changed, strict=True):
            group.update(settings)
        return position
