"""What turns the gradient of a step into new parameters: the optimizer, with a schedule of its rates and a bound on the gradient."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pangea import snapshot
from pangea.gradients import Parameters


class UnsupportedOptimizer(ValueError):
    """The optimizer or scheduler cannot be used in a run; the message says which one to take."""


_REFUSED: dict[type[torch.optim.Optimizer], str] = {
    torch.optim.LBFGS: "it computes the loss several times within a step (a closure), which workers cannot do together; use AdamW, or SGD with momentum",
    torch.optim.SparseAdam: "it needs sparse gradients, which are not added here; build the layers with sparse=False and use Adam",
}


class Training:
    """A model's parameters and all that changes them after each step, the same on every worker."""

    def __init__(
        self,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None = None,
        clip_norm: float | None = None,
    ) -> None:
        """Args:
            optimizer: over parameters of this model.
            scheduler: of this optimizer's rates; stepped once after each step of the optimizer.
            clip_norm: largest global norm of a step's gradient; above 0.
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
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}; it must be above 0, or None for no bound")
        self.parameters, self.optimizer, self.scheduler, self.clip_norm = parameters, optimizer, scheduler, clip_norm
        snapshot.check(parameters.model, optimizer, scheduler)

    def apply(self, total: torch.Tensor, samples: int, loss_sum: float) -> None:
        """Makes a step.

        Args:
            total: flat float32, the sum over all shards of the step; overwritten.
            samples: of the step.
            loss_sum: over all samples.
        """
        self.parameters.begin_step(total, samples)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.trainable.values(), self.clip_norm)
        self.optimizer.step()
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss_sum / samples)
        elif self.scheduler is not None:
            self.scheduler.step()
        self.parameters.end_step()

    def encode(self, position: snapshot.Position) -> bytes:
        """The whole state as a snapshot."""
        return snapshot.encode(self.parameters.model, self.optimizer, self.scheduler, position)

    def load(self, data: bytes) -> snapshot.Position:
        """Takes over the state of another worker; see `snapshot.decode_into`."""
        position = snapshot.decode_into(data, self.parameters.model, self.optimizer, self.scheduler)
        self.parameters.loaded()
        return position
