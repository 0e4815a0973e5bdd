"""Refuses calls of an ordinary training loop that the run makes itself.

They are the optimizer's step, a scheduler's step, clipping, and averaging of parameters. In a loop over the run's
batches they would act once for each batch that this worker computes. The error is raised in the call, so that it names
the line of the script. The run itself, and the functions of `run.before_step` and `run.after_step`, may make them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler, swa_utils

from pangea.errors import BrokenPromise

_OPTIMIZER = (
    "optimizer.step() was called by the script; the run calls it itself once all shards of a step have arrived: delete"
    " the call"
)
_SCHEDULER = (
    "{}.step() was called by the script; give the scheduler to pangea.join(model, optimizer, scheduler=...), which"
    " steps it after each step of the run, and delete the call. To step it once an epoch, or on a held-out loss, call"
    " it in run.after_step(fn, state={{'scheduler': scheduler}}) where step.ends_epoch"
)
_CLIP = (
    "{}() was called by the script, where it does not act on the run's gradient; give clip_norm=... to pangea.join, or"
    " call it in run.before_step(fn), which sees the gradient of the whole step"
)
_AVERAGE = (
    "AveragedModel.update_parameters() was called in the loop, where it runs once for each batch of this worker; write"
    " run.after_step(lambda _: average.update_parameters(model), state={'average': average})"
)
_SCALER = (
    "GradScaler.scale() was called by the script: a scaled loss is for float16, whose range is too small for gradients;"
    " compute under torch.autocast(dtype=torch.bfloat16) and give the loss itself to run.step, or make it a"
    " GradScaler(enabled=False)"
)
_CLIPS = ("clip_grad_norm_", "clip_grad_value_")


def _decorated(function: Any) -> types.CellType | None:
    """Returns where a function has the one that torch decorated with `no_grad`; None if it has none.

    Whoever calls the decorated function, by whatever name, calls what is in there.
    """
    names, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    found = dict(zip(names.co_freevars, cells or (), strict=True)) if names is not None else {}
    return found.get("func")


class Guards:
    """Refuses such calls from its construction until `remove`, except within `suspended`.

    Args:
        model, optimizers: of the run.
        on_broken_promise: called with the message instead of raising an error, if given.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        on_broken_promise: Callable[[str], None] | None = None,
    ) -> None:
        self._optimizers, self._on_broken_promise = optimizers, on_broken_promise
        self._suspended = 0
        self._parameters = {id(parameter) for parameter in model.parameters()}
        self._undo: list[Callable[[], None]] = []
        for optimizer in optimizers:
            hook = optimizer.register_step_pre_hook(lambda *_: self._refuse(_OPTIMIZER))
            self._undo.append(hook.remove)
        for kind in {
            value
            for value in vars(lr_scheduler).values()
            if isinstance(value, type) and value.__module__ == lr_scheduler.__name__
        }:
            if "step" in vars(kind):
                self._wrap(kind, "step", self._scheduler_called)
        self._wrap(GradScaler, "scale", self._loss_scaled)
        self._wrap(swa_utils.AveragedModel, "update_parameters", self._average_called)
        for name in _CLIPS:
            self._wrap_clip(name)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Allows the calls within the context, for those of the run itself."""
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1

    def remove(self) -> None:
        """Restores the functions of torch that the guards replaced."""
        while self._undo:
            self._undo.pop()()

    def _wrap(
        self, owner: Any, name: str, before_call: Callable[..., None], *, first_is_iterable: bool = False
    ) -> None:
        """Has `before_call` inspect the arguments of each call.

        Args:
            first_is_iterable: the first argument may be a generator, which inspection would exhaust.
        """
        original = getattr(owner, name) if isinstance(owner, types.CellType) else vars(owner)[name]

        @functools.wraps(original)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if first_is_iterable and args and not isinstance(args[0], torch.Tensor):
                args = (list(args[0]), *args[1:])
            before_call(*args)
            return original(*args, **kwargs)

        setattr(owner, name, guarded)
        self._undo.append(lambda: setattr(owner, name, original))

    def _wrap_clip(self, name: str) -> None:
        """Inspects the calls of a clipping function, also by a script that imported it by name before this patch."""
        before_call = functools.partial(self._clip_called, name)
        if (cell := _decorated(vars(clip_grad)[name])) is not None:
            self._wrap(cell, "cell_contents", before_call, first_is_iterable=True)
            return
        # Scripts import it from either module.
        for module in (torch.nn.utils, clip_grad):
            self._wrap(module, name, before_call, first_is_iterable=True)

    def _refuse(self, text: str) -> None:
        if self._suspended:
            return
        if self._on_broken_promise is None:
            raise BrokenPromise(text)
        self._on_broken_promise(text)

    def _scheduler_called(self, scheduler: Any, *_: Any) -> None:
        if any(getattr(scheduler, "optimizer", None) is optimizer for optimizer in self._optimizers):
            self._refuse(_SCHEDULER.format(type(scheduler).__name__))

    def _loss_scaled(self, scaler: Any, *_: Any) -> None:
        if scaler.is_enabled():
            self._refuse(_SCALER)

    def _average_called(self, _average: Any, model: Any = None, *_: Any) -> None:
        if isinstance(model, torch.nn.Module) and any(
            id(parameter) in self._parameters for parameter in model.parameters()
        ):
            self._refuse(_AVERAGE)

    def _clip_called(self, name: str, parameters: Any = (), *_: Any) -> None:
        several = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        if any(id(parameter) in self._parameters for parameter in several):
            self._refuse(_CLIP.format(name))
