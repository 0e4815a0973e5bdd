"""Which hooks of a LightningModule and of its callbacks a run calls, and what they see of a Trainer.

A hook that a Trainer calls for each batch would be called for each shard that a worker computes, and so as often as
chance has it. A module or callback that has such a hook is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pangea.errors import MisusedRun

# Around the run, each epoch, and each validation.
_CALLED = (
    "on_fit_start",
    "on_fit_end",
    "on_train_start",
    "on_train_end",
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_validation_start",
    "on_validation_end",
    "on_validation_epoch_start",
    "on_validation_epoch_end",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_before_optimizer_step",
)
_PER_BATCH = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
)
_OF_MODULES = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "manual_backward",
    "optimizer_step",
    "optimizer_zero_grad",
)
_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric", "torch")
_ADVICE = (
    "which a Trainer calls for each batch, but a batch of a run is one shard of a step, which any worker may compute."
    " Write the loop of a run, with run.before_step and run.after_step for what happens once a step"
    " (docs/how-to/frameworks.md)"
)
_INSTEAD = {
    "Checkpoint": "the run writes checkpoints and the final weights: delete the callback",
    "EarlyStopping": "it counts epochs that a worker which joins late has not seen: write the loop of a run, with"
    " run.after_step(fn, state=...) and run.stop, as docs/how-to/scripts.md shows it",
    "LearningRateMonitor": "call self.log in the training step for the learning rate, and delete the callback",
}


def overrides(value: Any, hook: str) -> bool:
    """Returns whether the user has written a hook."""
    found = getattr(type(value), hook, None)
    # The package lightning has a copy of pytorch_lightning, whose classes are others.
    return found is not None and found.__module__.partition(".")[0] not in _PACKAGES


def _kinds(value: Any) -> list[str]:
    return [kind.__name__ for kind in type(value).__mro__]


def _base(callback: Any) -> Any:
    """Returns Lightning's class Callback, in either of its packages."""
    return next(kind for kind in type(callback).__mro__ if kind.__name__ == "Callback")


def refuse_module(module: Any) -> None:
    """Checks that a run calls all that a module overrides.

    Raises:
        MisusedRun: naming the first hook that it does not.
    """
    for hook in (*_PER_BATCH, *_OF_MODULES):
        if overrides(module, hook):
            raise MisusedRun(f"{type(module).__name__} overrides {hook}, {_ADVICE}")


def usable(callbacks: Iterable[Any]) -> list[Any]:
    """Returns the callbacks without progress bars: the command shows the progress.

    Raises:
        MisusedRun: naming the first callback that needs a hook for each batch, and what to do instead.
    """
    found = []
    for callback in callbacks:
        kinds = _kinds(callback)
        for kind, instead in _INSTEAD.items():
            if kind in kinds:
                raise MisusedRun(f"the callback {type(callback).__name__} has no place in a run: {instead}")
        if "ProgressBar" in kinds or "ModelSummary" in kinds:
            continue
        for hook in _PER_BATCH:
            if getattr(type(callback), hook) is not getattr(_base(callback), hook):
                raise MisusedRun(f"the callback {type(callback).__name__} has {hook}, {_ADVICE}")
        found.append(callback)
    return found


def saves_state(callback: Any) -> bool:
    """Returns whether a callback has state of its own that belongs into checkpoints."""
    return type(callback).state_dict is not _base(callback).state_dict


class Hooks:
    """Calls the hooks of callbacks, then that of the module, as a Trainer does.

    Args:
        module: a LightningModule.
        callbacks: its callbacks, as `usable` returns them.
        trainer: what they see of a Trainer.
    """

    def __init__(self, module: Any, callbacks: list[Any], trainer: Any) -> None:
        self.callbacks = callbacks
        self._module, self._trainer = module, trainer

    def has(self, hook: str) -> bool:
        """Returns whether the module or a callback has a hook."""
        return overrides(self._module, hook) or any(
            getattr(type(callback), hook) is not getattr(_base(callback), hook) for callback in self.callbacks
        )

    def call(self, hook: str, *arguments: Any) -> None:
        """Calls a hook everywhere."""
        assert hook in _CALLED
        for callback in self.callbacks:
            getattr(callback, hook)(self._trainer, self._module, *arguments)
        getattr(self._module, hook)(*arguments)

    def of_callbacks(self, hook: str, stage: str) -> None:
        """Calls `setup` or `teardown` of the callbacks."""
        for callback in self.callbacks:
            getattr(callback, hook)(self._trainer, self._module, stage)
