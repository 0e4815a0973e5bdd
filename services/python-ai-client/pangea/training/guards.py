"""Refuses calls that a training loop has, and that the run makes itself: the optimizer's step, a scheduler's step, clipping, the average of parameters.

In a loop over the run's batches they would act once for each batch that this worker computes. They are refused where they are called, so that the error
names the line of the script. What the run does itself, and the functions of `run.before_step` and `run.after_step`, may call them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler, swa_utils

from pangea.errors import BrokenPromise

_OPTIMIZER = "optimizer.step() was called by the script; the run makes the optimizer's step itself, once all shards of a step are in: delete the call"
_SCHEDULER = (
    "{}.step() was called by the script; give the scheduler to pangea.join(model, optimizer, scheduler=...), which steps it after each step of the run, and delete the call"
)
_CLIP = "{}() was called by the script, where it acts on no gradient of the run; give clip_norm=... to pangea.join, or call it in run.before_step(fn), which has the whole step's gradient"
_AVERAGE = "AveragedModel.update_parameters() was called in the loop, where it runs once for each batch of this worker; write run.after_step(lambda _: average.update_parameters(model), state={'average': average})"
_CLIPS = ("clip_grad_norm_", "clip_grad_value_")


class Guards:
    """From its making until `remove` such calls are refused, but within `open`."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, on_broken_promise: Callable[[str], None] | None = None) -> None:
        """Args:
        model, optimizer: of the run.
        on_broken_promise: told of such a call instead of an error.
        """
        self._optimizer, self._on_broken_promise = optimizer, on_broken_promise
        self._suspended = 0
        self._parameters = {id(parameter) for parameter in model.parameters()}
        self._undo: list[Callable[[], None]] = []
        hook = optimizer.register_step_pre_hook(lambda *_: self._refuse(_OPTIMIZER))
        self._undo.append(hook.remove)
        for kind in {value for value in vars(lr_scheduler).values() if isinstance(value, type) and value.__module__ == lr_scheduler.__name__}:
            if "step" in vars(kind):
                self._wrap(kind, "step", self._scheduler_called)
        self._wrap(swa_utils.AveragedModel, "update_parameters", self._average_called)
        # Under both names that scripts import them by.
        for module in (torch.nn.utils, clip_grad):
            for name in _CLIPS:
                self._wrap(module, name, functools.partial(self._clip_called, name), first_is_iterable=True)
        # What a script has imported by name before still ends here.
        if hasattr(clip_grad, "_clip_grads_with_norm_"):
            self._wrap(clip_grad, "_clip_grads_with_norm_", functools.partial(self._clip_called, _CLIPS[0]), first_is_iterable=True)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within it the calls are allowed: they are the run's own."""
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1

    def remove(self) -> None:
        """Leaves torch as it was."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, before_call: Callable[..., None], *, first_is_iterable: bool = False) -> None:
        """Has `before_call` look at the arguments of each call first. `first_is_iterable`: the first one may be a generator, which looking would use up."""
        original = vars(owner)[name]

        @functools.wraps(original)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if first_is_iterable and args and not isinstance(args[0], torch.Tensor):
                args = (list(args[0]), *args[1:])
            before_call(*args)
            return original(*args, **kwargs)

        setattr(owner, name, guarded)
        self._undo.append(lambda: setattr(owner, name, original))

    def _refuse(self, text: str) -> None:
        if self._suspended:
            return
        if self._on_broken_promise is None:
            raise BrokenPromise(text)
        self._on_broken_promise(text)

    def _scheduler_called(self, scheduler: Any, *_: Any) -> None:
        if getattr(scheduler, "optimizer", None) is self._optimizer:
            self._refuse(_SCHEDULER.format(type(scheduler).__name__))

    def _average_called(self, _average: Any, model: Any = None, *_: Any) -> None:
        if isinstance(model, torch.nn.Module) and any(id(parameter) in self._parameters for parameter in model.parameters()):
            self._refuse(_AVERAGE)

    def _clip_called(self, name: str, parameters: Any = (), *_: Any) -> None:
        several = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        if any(id(parameter) in self._parameters for parameter in several):
            self._refuse(_CLIP.format(name))
