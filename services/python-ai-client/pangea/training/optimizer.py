"""Applies a step to the parameters: the optimizer, its schedule, gradient clipping, and the script's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def _refuse_unsupported(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Checks that a run supports the optimizers, and that each of their parameters belongs to the model and to one.

    Raises:
        UnsupportedOptimizer: it does not.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen: set[int] = set()
    for optimizer in optimizers:
        _refuse_unsupported_one(names, optimizer)
        own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if own & seen:
            raise UnsupportedOptimizer(
                f"the parameter {names[min(own & seen)]} belongs to two optimizers, and each would step it; give it to"
                " one of them"
            )
        seen |= own


def _refuse_unsupported_one(names: Mapping[int, str], optimizer: torch.optim.Optimizer) -> None:
    for refused, reason in _REFUSED.items():
        if isinstance(optimizer, refused):
            raise UnsupportedOptimizer(f"{type(optimizer).__name__} cannot train in a run: {reason}")
    for number, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise UnsupportedOptimizer(
                    f"group {number} of the optimizer holds a parameter {tuple(parameter.shape)} that does not belong"
                    " to the model; put everything that is trained into one module"
                )


def _matched(optimizers: Sequence[torch.optim.Optimizer], scheduler: snapshot.Schedulers) -> list[LRScheduler | None]:
    """Returns the scheduler of each optimizer.

    Raises:
        UnsupportedOptimizer: a scheduler belongs to none of them, or one of them has two.
    """
    given = [scheduler] if scheduler is None or isinstance(scheduler, LRScheduler) else list(scheduler)
    matched: list[LRScheduler | None] = [None] * len(optimizers)
    for one in given:
        if one is None:
            continue
        index = next((number for number, known in enumerate(optimizers) if known is one.optimizer), None)
        if index is None:
            raise UnsupportedOptimizer(
                f"{type(one).__name__} was built for another optimizer than the one given to pangea.join"
            )
        if matched[index] is not None:
            raise UnsupportedOptimizer(
                f"{type(one).__name__} is the second scheduler of its optimizer; combine them with ChainedScheduler or"
                " SequentialLR"
            )
        matched[index] = one
    return matched


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
        optimizer: over parameters of this model; or several, each over its own parameters.
        scheduler: of this optimizer's learning rates; stepped once after each step of the optimizer. Of several
            optimizers, a list with one for each, or None.
        clip_norm: maximum global norm of a step's gradient; above 0. With several optimizers, of the gradient of each.
        rate: the learning rate of all groups as a function of the step's number; instead of a scheduler.
    Raises:
        UnsupportedOptimizer: naming what cannot be used.
        BadSnapshot: naming the part of their state that cannot be sent to another worker.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: snapshot.Optimizers,
        scheduler: snapshot.Schedulers = None,
        clip_norm: float | None = None,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        _refuse_unsupported(parameters.model, optimizers)
        schedulers = _matched(optimizers, scheduler)
        if any(its is not None for its in schedulers) and rate is not None:
            raise UnsupportedOptimizer(
                "both scheduler and rate are given, and each sets the learning rate; give one of them"
            )
        if rate is not None and len(optimizers) > 1:
            raise UnsupportedOptimizer(
                "rate is the learning rate of all groups, and there are several optimizers; give each a scheduler"
            )
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}; it must be above 0, or None for no bound")
        self.parameters = parameters
        self.optimizers, self.schedulers = optimizers, schedulers
        self.clip_norm = clip_norm
        self._rate = rate
        self.before: list[StepFunction] = []
        self.after: list[StepFunction] = []
        self.state: dict[str, HasState] = {}
        self.guards: Guards | None = None
        # Computed before any step: settings such as the learning rate change during training.
        self.description = describe_training(
            optimizers, schedulers, clip_norm, rate, parameters.device.torch_device.type
        )
        snapshot.check(parameters.model, optimizers, schedulers)
        self._settings = [SettingsWatch(one) for one in optimizers]
        # Whether the script's functions of before_step and after_step may be running.
        self.in_step = False

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The first optimizer; most runs have one."""
        return self.optimizers[0]

    @property
    def scheduler(self) -> LRScheduler | None:
        """The scheduler of the first optimizer."""
        return self.schedulers[0]

    def guard(self) -> None:
        """Starts refusing calls of the script that the run makes itself, until `unguard`."""
        self.guards = Guards(self.parameters.model, self.optimizers, self.parameters.on_broken_promise)

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
        for settings in self._settings:
            try:
                settings.check()
            except BrokenPromise as error:
                if self.parameters.on_broken_promise is None:
                    raise
                self.parameters.on_broken_promise(str(error))
                settings.record_baseline()

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
        self._accept()

    def _accept(self) -> None:
        """Makes the current parameters and settings those of the run."""
        self.parameters.record_baseline()
        for settings in self._settings:
            settings.record_baseline()

    def _change(self, step: Step) -> None:
        """Runs everything that changes parameters, in order."""
        for function in self.before:
            function(step)
        if self._rate is not None:
            rate = self._rate(step.number)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            self._step(optimizer, scheduler, step)
        self.parameters.clear_gradients()
        for function in self.after:
            function(step)

    def _step(self, optimizer: torch.optim.Optimizer, scheduler: LRScheduler | None, step: Step) -> None:
        """Makes the step of one optimizer; of several, only those step whose parameters have gradients."""
        several = len(self.optimizers) > 1
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if several and all(parameter.grad is None for parameter in own):
            return
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(own if several else self.parameters.trainable.values(), self.clip_norm)
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(step.loss)
        elif scheduler is not None:
            scheduler.step()

    def encode(self, position: snapshot.Position) -> bytes:
        """Returns the complete state as a snapshot."""
        return snapshot.encode(
            self.parameters.model, self.optimizers, self.schedulers, position, self.state, self.description
        )

    def state_parts(self, position: snapshot.Position) -> list[memoryview]:
        """Returns the bytes of `encode` in parts, without copying the tensors; valid until the state changes."""
        return snapshot.parts(
            self.parameters.model, self.optimizers, self.schedulers, position, self.state, self.description
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
            position = snapshot.decode_into(data, self.parameters.model, self.optimizers, self.schedulers, self.state)
        self._accept()
        return position

    def _load_changed(self, data: bytes, theirs: str) -> snapshot.Position:
        """Loads a state with different settings, and keeps this script's where they differ."""
        model, groups = self.parameters.model, [group for one in self.optimizers for group in one.param_groups]
        if not same_structure(theirs, self.description):
            return snapshot.load_model(data, model)
        changed = [
            {name: group[name] for name in names if name in group}
            for group, names in zip(groups, differing_settings(theirs, self.description), strict=True)
        ]
        position = snapshot.decode_into(data, model, self.optimizers, self.schedulers, self.state, other_scheduler=True)
        # Loading has replaced them.
        groups = [group for one in self.optimizers for group in one.param_groups]
        for group, settings in zip(groups, changed, strict=True):
            group.update(settings)
        return position
