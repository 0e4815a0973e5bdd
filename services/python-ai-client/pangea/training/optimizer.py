"""What turns the gradient of a step into new parameters: the optimizer, with a schedule of its rates, a bound on the gradient, and the script's own functions."""

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
    """The optimizer or scheduler cannot be used in a run; the message says which one to take."""


_REFUSED: dict[type[torch.optim.Optimizer], str] = {
    torch.optim.LBFGS: "it computes the loss several times within a step (a closure), which workers cannot do together; use AdamW, or SGD with momentum",
    torch.optim.SparseAdam: "it needs sparse gradients, which are not added here; build the layers with sparse=False and use Adam",
}


@dataclass(frozen=True)
class Step:
    """A step of the run, as the functions of `run.before_step` and `run.after_step` are told of it.

    Attributes:
        number: counts over the whole run, from 0.
        epoch: from 0.
        ends_epoch: whether it is the last one of its epoch.
        samples: of all its shards.
        loss: of all its shards; NaN where nothing counted.
    """

    number: int
    epoch: int
    ends_epoch: bool
    samples: int
    loss: float


StepFunction = Callable[[Step], Any]


class Training:
    """A model's parameters and all that changes them after each step, the same on every worker."""

    def __init__(
        self,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None = None,
        clip_norm: float | None = None,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        """Args:
            optimizer: over parameters of this model.
            scheduler: of this optimizer's rates; stepped once after each step of the optimizer.
            clip_norm: largest global norm of a step's gradient; above 0.
            rate: gives the rate of all groups in a step, by the step's number; instead of a scheduler.
        Raises:
            UnsupportedOptimizer: naming what cannot be used.
            BadSnapshot: naming what of their state could not be handed to another worker.
        """
        for refused, reason in _REFUSED.items():
            if isinstance(optimizer, refused):
                raise UnsupportedOptimizer(f"{type(optimizer).__name__} cannot train in a run: {reason}")
        known = {id(parameter) for parameter in parameters.model.parameters()}
        for number, group in enumerate(optimizer.param_groups):
            for parameter in group["params"]:
                if id(parameter) not in known:
                    shape = tuple(parameter.shape)
                    raise UnsupportedOptimizer(f"group {number} of the optimizer holds a parameter {shape} that is not of the model; put all that is trained into one module")
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise UnsupportedOptimizer(f"{type(scheduler).__name__} was built for another optimizer than the one that joins")
        if scheduler is not None and rate is not None:
            raise UnsupportedOptimizer("both scheduler and rate are given, and each sets the learning rate; give one of them")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}; it must be above 0, or None for no bound")
        self.parameters, self.optimizer, self.scheduler, self.clip_norm, self._rate = parameters, optimizer, scheduler, clip_norm, rate
        self.before: list[StepFunction] = []
        self.after: list[StepFunction] = []
        self.state: dict[str, HasState] = {}
        self.guards: Guards | None = None
        # Of the settings as the script made them: a snapshot of a later step has others.
        self.description = describe_training(optimizer, scheduler, clip_norm, rate)
        snapshot.check(parameters.model, optimizer, scheduler)
        self._settings = SettingsWatch(optimizer)

    def guard(self) -> None:
        """From now on, refuses what a training loop has and the run does itself. `unguard` follows."""
        self.guards = Guards(self.parameters.model, self.optimizer, self.parameters.on_broken_promise)

    def unguard(self) -> None:
        """Leaves torch and the optimizer as they were."""
        if self.guards is not None:
            self.guards.remove()
            self.guards = None

    def check(self, where: str, *, bytes_too: bool = False) -> None:
        """Looks whether the script has changed what only the run may change; see `Parameters.check`."""
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

    def apply(self, total: torch.Tensor, samples: int, loss_sum: float, divisor: float | None = None, step: Step | None = None, seed: int = 0) -> None:
        """Makes a step.

        Args:
            total: flat float32, the sum over all shards of the step; overwritten.
            samples: of the step.
            loss_sum: over all shards.
            divisor: of sum and loss; default: the samples.
            step: for the script's functions.
            seed: of the run, for what these draw.
        Raises:
            BrokenPromise: naming what the script has changed.
        """
        self._check_settings()
        self.parameters.begin_step(total, samples, divisor)
        by = samples if divisor is None else divisor
        mean = loss_sum / by if by else float("nan")
        step = step or Step(0, 0, False, samples, mean)
        if self.before or self.after:
            seed_after_step(seed, step.number)
        if self.guards is None:
            self._change(step)
        else:
            with self.guards.suspended():
                self._change(step)
        self.parameters.end_step()
        self._settings.record_baseline()

    def _change(self, step: Step) -> None:
        """Everything that changes parameters, in its order."""
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
        """The whole state as a snapshot."""
        return snapshot.encode(self.parameters.model, self.optimizer, self.scheduler, position, self.state, self.description)

    def load(self, data: bytes, *, take_changes: bool = False) -> snapshot.Position:
        """Takes over the state of another worker, or of a checkpoint; see `snapshot.decode_into`.

        Args:
            data: a snapshot.
            take_changes: if it was made with other settings than this script has, go on with this script's; another optimizer or scheduler begins anew.
        """
        # Only then: it reads the whole snapshot.
        theirs = snapshot.training_of(data) if take_changes else ""
        if theirs and theirs != self.description:
            position = self._load_changed(data, theirs)
        else:
            position = snapshot.decode_into(data, self.parameters.model, self.optimizer, self.scheduler, self.state)
        self.parameters.record_baseline()
        self._settings.record_baseline()
        return position

    def _load_changed(self, data: bytes, theirs: str) -> snapshot.Position:
        """Takes over a state that was made with other settings, and keeps this script's where they differ."""
        model, optimizer = self.parameters.model, self.optimizer
        if not same_structure(theirs, self.description):
            return snapshot.load_model(data, model)
        changed = [
            {name: group[name] for name in names if name in group} for group, names in zip(optimizer.param_groups, differing_settings(theirs, self.description), strict=True)
        ]
        position = snapshot.decode_into(data, model, optimizer, self.scheduler, self.state, other_scheduler=True)
        for group, settings in zip(optimizer.param_groups, changed, strict=True):
            group.update(settings)
        return position
