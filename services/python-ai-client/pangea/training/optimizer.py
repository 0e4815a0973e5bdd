"""Applies a step to the parameters: the optimizer, its schedule, gradient clipping, and the script's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pangea.errors import BrokenPromise, PangeaError
from pangea.training import snapshot
from pangea.training.description import describe_training, differing_settings, same_structure
from pangea.training.determinism import seed_after_step
from pangea.training.gradients import Parameters
from pangea.training.guards import Guards
from pangea.training.schedule import MadeSchedulers, MakeScheduler, RunSteps
from pangea.training.snapshot import HasState
from pangea.training.unsaved import Seen, UnsavedWatch, compare
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


Schedulers: TypeAlias = LRScheduler | MakeScheduler | Sequence[LRScheduler | MakeScheduler | None] | None


def _makers(scheduler: Schedulers, optimizers: int) -> dict[int, MakeScheduler]:
    """Returns the functions that make schedulers, by the number of their optimizer.

    Raises:
        UnsupportedOptimizer: there is no such optimizer.
    """
    given = list(scheduler) if isinstance(scheduler, Sequence) else [scheduler]
    found = {number: one for number, one in enumerate(given) if callable(one) and not isinstance(one, LRScheduler)}
    if (number := max(found, default=-1)) >= optimizers:
        raise UnsupportedOptimizer(
            f"scheduler {number} is a function, but there are {optimizers} optimizers; a function makes the scheduler"
            " of the optimizer at its place"
        )
    return found


def _matched(optimizers: Sequence[torch.optim.Optimizer], scheduler: Schedulers) -> list[LRScheduler | None]:
    """Returns the scheduler of each optimizer, without those that are made later.

    Raises:
        UnsupportedOptimizer: a scheduler belongs to none of them, or one of them has two.
    """
    given = list(scheduler) if isinstance(scheduler, Sequence) else [scheduler]
    matched: list[LRScheduler | None] = [None] * len(optimizers)
    for one in given:
        if not isinstance(one, LRScheduler):
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


def _make_step(optimizer: torch.optim.Optimizer) -> None:
    """Calls the optimizer's `step`.

    Raises:
        UnsupportedOptimizer: it needs a function that computes the loss again.
    """
    try:
        optimizer.step()
    except Exception as error:
        if "closure" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise UnsupportedOptimizer(
            f"{type(optimizer).__name__} cannot train in a run: it computes the loss several times within a step"
            f" ({reason}). Compute what it does for each batch in the loop, as docs/how-to/scripts.md shows it for SAM,"
            " and give pangea.join the optimizer that it wraps"
        ) from error


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
            optimizers, a list with one for each, or None. A function makes one in `make_schedulers`.
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
        scheduler: Schedulers = None,
        clip_norm: float | None = None,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        _refuse_unsupported(parameters.model, optimizers)
        schedulers = _matched(optimizers, scheduler)
        makers = _makers(scheduler, len(optimizers))
        if (makers or any(its is not None for its in schedulers)) and rate is not None:
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
            optimizers, schedulers, clip_norm, rate, parameters.device.torch_device.type, made=bool(makers)
        )
        self._made = MadeSchedulers(makers) if makers else None
        snapshot.check(parameters.model, optimizers, schedulers)
        self._settings = [SettingsWatch(one) for one in optimizers]
        # Whether the script's functions of before_step and after_step may be running.
        self.in_step = False
        self._unsaved = UnsavedWatch(parameters.model, optimizers)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The first optimizer; most runs have one."""
        return self.optimizers[0]

    @property
    def scheduler(self) -> LRScheduler | None:
        """The scheduler of the first optimizer."""
        return self.schedulers[0]

    def make_schedulers(self, facts: RunSteps) -> None:
        """Calls the functions that were given instead of schedulers; afterwards a state can be loaded.

        Args:
            facts: of the run's dataset.
        Raises:
            UnsupportedOptimizer: a function made something else than a scheduler of its optimizer.
        """
        if self._made is None:
            return
        self._take(self._made.make(self.optimizers, facts))
        self.state[snapshot.SCHEDULE] = self._made
        snapshot.check(self.parameters.model, self.optimizers, self.schedulers)
        self._accept()

    def _take(self, made: Mapping[int, LRScheduler]) -> None:
        for number, scheduler in made.items():
            if not isinstance(scheduler, LRScheduler) or scheduler.optimizer is not self.optimizers[number]:
                raise UnsupportedOptimizer(
                    f"the function given as scheduler of pangea.join returned a {type(scheduler).__name__}; it must"
                    " return a scheduler of the optimizer that it is called with, as `lambda optimizer, data:"
                    " OneCycleLR(optimizer, max_lr=0.1, total_steps=data.steps)` does"
                )
            self.schedulers[number] = scheduler

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
        watched = self._unsaved.is_due(step.number, ends_epoch=step.ends_epoch)
        seen = self._reachable() if watched else {}
        self.in_step = True
        try:
            if self.guards is None:
                self._change(step)
            else:
                with self.guards.suspended():
                    self._change(step)
        finally:
            self.in_step = False
        if watched:
            self._check_unsaved(seen)
        self._accept()

    def _reachable(self) -> Seen:
        return self._unsaved.look({"before_step": self.before, "after_step": self.after}, self.state)

    def _check_unsaved(self, seen: Seen) -> None:
        """Checks that the step has changed nothing that is in no checkpoint."""
        try:
            compare(seen, self._reachable())
        except BrokenPromise as error:
            if self.parameters.on_broken_promise is None:
                raise
            self.parameters.on_broken_promise(str(error))

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
        _make_step(optimizer)
        try:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(step.loss)
            elif scheduler is not None:
                scheduler.step()
        except ValueError as error:
            raise UnsupportedOptimizer(
                f"{type(scheduler).__name__} cannot make step {step.number + 1} of the run: {error}. One for the steps"
                " of the run: scheduler=lambda optimizer, data: OneCycleLR(optimizer, max_lr=0.1,"
                " total_steps=data.steps)"
            ) from error

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
        changed = bool(theirs) and theirs != self.description
        if self._made is not None:
            self._made.take_changes = take_changes
        if changed:
            position = self._load_changed(data, theirs)
        else:
            position = snapshot.decode_into(data, self.parameters.model, self.optimizers, self.schedulers, self.state)
        if self._made is not None and (changed or self._made.differs):
            with self.guards.suspended() if self.guards is not None else nullcontext():
                self._take(self._made.remake(self.optimizers, position.step))
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
