"""Trains a LightningModule in a run: `pangea.lightning.fit(module, train_loader, val_loader)` instead of `Trainer.fit`.

Needs the package pytorch-lightning or lightning, which is not installed with Pangea: `pip install
'pangea[lightning]'`. The loop is that of a run; the module keeps its steps, its hooks and `self.log`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pangea.errors import MisusedRun, PangeaError
from pangea.lightning_hooks import Hooks, overrides, refuse_module, saves_state, usable
from pangea.loaders import parts_of
from pangea.services.options import RunOptions
from pangea.training.optimizer import Step
from pangea.worker.join import join
from pangea.worker.run import Run

try:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers import Logger
except ImportError as error:
    raise PangeaError(
        f"pangea.lightning needs the package pytorch-lightning ({error}); install it: pip install 'pangea[lightning]'"
    ) from error

__all__ = ["RunLogger", "fit"]


class _Mean:
    """The mean of figures over batches, by their samples."""

    def __init__(self) -> None:
        self.samples = 1
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, figures: Mapping[str, Any]) -> None:
        for name, value in figures.items():
            total, samples = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + float(value) * self.samples, samples + self.samples

    def figures(self) -> dict[str, float]:
        return {name: total / samples for name, (total, samples) in self._sums.items()}


class RunLogger(Logger):  # type: ignore[misc]  # the package is not there when types are checked
    """A logger of Lightning that hands figures to `run.log`, which knows their step.

    Args:
        run: of this worker.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._mean: _Mean | None = None

    @contextmanager
    def _averaging(self) -> Iterator[_Mean]:
        """Logs the mean of all figures that are logged within, by the number of samples that the caller sets."""
        self._mean = mean = _Mean()
        try:
            yield mean
        finally:
            self._mean = None
        self._run.log(mean.figures())

    @property
    def name(self) -> str:
        """The name of the logger."""
        return "pangea"

    @property
    def version(self) -> str:
        """The ID of the run."""
        return self._run.run_id

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs `metrics`, numbers by name; `step` is ignored, because the run counts the steps."""
        if self._mean is not None:
            self._mean.add(metrics)
        else:
            self._run.log(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing with `params`, `args` and `kwargs`: hyperparameters are in the script, and in launch.json."""


class _FitLogger(RunLogger):
    """The logger of `fit`, which is made before the run is joined."""

    def __init__(self) -> None:
        self._mean = None

    def begin(self, run: Run) -> None:
        """Logs to `run` from here on."""
        self._run = run


class _NotInRun(MisusedRun, AttributeError):
    """A module or callback asks for something of a Trainer that a run has not."""


class _Trainer(Fabric):  # type: ignore[misc]  # the package is not there when types are checked
    """What a module and its callbacks see as `trainer`.

    With a Fabric, self.log hands over what it is given at once, and needs no Trainer.

    Attributes:
        current_epoch, global_step: of the current batch, or of what was trained last.
        max_epochs: those of a local run.
        callback_metrics: the figures of the last validation.
        optimizers: the one of the run.
        sanity_checking: always false.
    """

    def __init__(self, logger: Logger, max_epochs: int, steps_per_epoch: int) -> None:
        super().__init__(accelerator="cpu", devices=1, loggers=logger)
        self.current_epoch, self.global_step, self.max_epochs = 0, 0, max_epochs
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.optimizers: list[torch.optim.Optimizer] = []
        self.sanity_checking = False
        self._steps = max_epochs * steps_per_epoch
        self._was_asked = False

    @property
    def estimated_stepping_batches(self) -> int:
        """The steps of the run, by the arguments of `fit`; `check_steps` compares."""
        self._was_asked = True
        return self._steps

    def check_steps(self, run: Run) -> None:
        """Checks that the run has as many steps as a schedule was built for.

        Raises:
            MisusedRun: it has not.
        """
        if self._was_asked and run.dataset.steps != self._steps:
            run.close()
            raise MisusedRun(
                f"the run has {run.dataset.steps} steps, but max_epochs and the batch size of the loader make"
                f" {self._steps}, which trainer.estimated_stepping_batches said; start the run with the same --epochs"
                " and --batch-size, and without --drop-last"
            )

    def __getattr__(self, name: str) -> Any:
        # Only for what is not found otherwise.
        if name == "should_stop":
            return False
        raise _NotInRun(
            f"trainer.{name} was asked for, and a run has no Trainer; see docs/how-to/frameworks.md for what there is"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "should_stop" and value:
            raise MisusedRun(
                "trainer.should_stop was set; a run ends early by run.stop in a loop of its own, as"
                " docs/how-to/scripts.md shows it"
            )
        super().__setattr__(name, value)


def fit(
    module: Any,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: Any = None,
    *,
    max_epochs: int = RunOptions.epochs,
    gradient_clip_val: float | None = None,
    callbacks: Sequence[Any] = (),
    shards: int = RunOptions.shards,
    seed: int = RunOptions.seed,
    run_dir: str | None = None,
) -> Run:
    """Trains a LightningModule in a run, and returns the run when its final weights are written.

    The module's `configure_optimizers`, `training_step`, `validation_step`, `self.log`, `self.current_epoch`,
    `self.global_step`, the hooks of setup, of fit, of epochs, of validation and of the transfer of batches, and
    `on_before_optimizer_step` work as with a Trainer. A batch of `training_step` is one shard of a step; what it logs
    is the mean over the step. Validation runs after each epoch, on all validation data.

    Args:
        module: a LightningModule with one optimizer and automatic optimization.
        train_dataloaders: a DataLoader over a map-style dataset; default: that of the datamodule, or of the module. Its
            batch size is the number of samples of a step. The run orders the samples itself.
        val_dataloaders: a DataLoader, or None for no validation; default: that of the datamodule.
        datamodule: a LightningDataModule.
        max_epochs, shards, seed: options of a local run; ignored when an existing run is joined, as is the batch size.
        gradient_clip_val: maximum global norm of a step's gradient.
        callbacks: of Lightning, besides those of `configure_callbacks`; every worker calls them. Their state is part of
            checkpoints. One that needs a hook for each batch is refused by name.
        run_dir: of a local run; default: `pangea-runs/TIME-SEED`.
    Returns:
        the run, which has finished or was interrupted; `run.run_dir` has its files.
    Raises:
        MisusedRun: the module, a callback or a DataLoader needs something that a run cannot do; the message says what
            to do.
    """
    if not module.automatic_optimization:
        raise MisusedRun(
            "the LightningModule has automatic_optimization = False; return the loss of training_step, and let the run"
            " call the optimizer"
        )
    refuse_module(module)
    configured = module.configure_callbacks()
    found = usable([*callbacks, *(configured if isinstance(configured, Sequence) else [configured])])
    train, validation = _loaders(module, train_dataloaders, val_dataloaders, datamodule)
    parts = parts_of(train)
    logger = _FitLogger()
    trainer = _Trainer(logger, max_epochs, math.ceil(len(parts.dataset) / parts.batch_size))
    _attach(module, trainer)
    hooks = Hooks(module, found, trainer)
    hooks.of_callbacks("setup", "fit")
    module.configure_model()
    schedule = _optimizers(module)
    run = join(
        module,
        schedule.optimizer,
        scheduler=schedule.of_steps,
        clip_norm=gradient_clip_val,
        dataset=parts.dataset,
        collate_fn=parts.collate_fn,
        loader_processes=parts.loader_processes,
        epochs=max_epochs,
        batch_size=parts.batch_size,
        shards=shards,
        seed=seed,
        run_dir=run_dir,
    )
    trainer.check_steps(run)
    trainer.optimizers = [schedule.optimizer]
    logger.begin(run)
    schedule.register(run)
    _Loop(module, run, validation, hooks, trainer, logger).run()
    for owner in (module, datamodule):
        if owner is not None:
            owner.teardown("fit")
    hooks.of_callbacks("teardown", "fit")
    _attach(module, None)
    return run


def _attach(module: Any, trainer: _Trainer | None) -> None:
    """Lets a module find what it asks a Trainer for: by its Fabric, if it is attached to a Trainer at all."""
    module.fabric = trainer
    module._trainer = trainer


class _Loop:
    def __init__(
        self, module: Any, run: Run, validation: Any, hooks: Hooks, trainer: _Trainer, logger: RunLogger
    ) -> None:
        self._module, self._run, self._validation = module, run, validation
        self._hooks, self._trainer, self._logger = hooks, trainer, logger
        for callback in hooks.callbacks:
            if saves_state(callback):
                run.after_step(_nothing, state={f"callback {callback.state_key}": callback})
        if hooks.has("on_before_optimizer_step"):
            run.before_step(lambda _: hooks.call("on_before_optimizer_step", trainer.optimizers[0]))

    def run(self) -> None:
        self._hooks.call("on_fit_start")
        self._hooks.call("on_train_start")
        for epoch in self._run.epochs():
            self._trainer.current_epoch = epoch
            self._train_epoch()
            if self._validation is not None:
                self._validate()
        self._hooks.call("on_train_end")
        self._hooks.call("on_fit_end")
        self._run.finish()

    def _train_epoch(self) -> None:
        module, trainer = self._module, self._trainer
        module.train()
        self._hooks.call("on_train_epoch_start")
        for number, batch in enumerate(self._run.batches()):
            trainer.current_epoch, trainer.global_step = batch.epoch, batch.step
            self._run.step(_loss(module.training_step(self._placed(batch.data), number)))
        trainer.global_step = self._run.steps
        self._hooks.call("on_train_epoch_end")

    def _validate(self) -> None:
        """Logs the mean of what validation steps log, over all samples, as a Trainer does."""
        module, hooks = self._module, self._hooks
        module.eval()
        hooks.call("on_validation_start")
        hooks.call("on_validation_epoch_start")
        with torch.no_grad(), self._logger._averaging() as mean:
            for number, batch in enumerate(self._validation):
                mean.samples = _samples(batch)
                data = self._placed(batch)
                hooks.call("on_validation_batch_start", data, number)
                outputs = module.validation_step(data, number)
                hooks.call("on_validation_batch_end", outputs, data, number)
        self._trainer.callback_metrics = {name: torch.tensor(value) for name, value in mean.figures().items()}
        hooks.call("on_validation_epoch_end")
        hooks.call("on_validation_end")

    def _placed(self, batch: Any) -> Any:
        module = self._module
        moved = module.transfer_batch_to_device(module.on_before_batch_transfer(batch, 0), module.device, 0)
        return module.on_after_batch_transfer(moved, 0)


def _nothing(_: Step) -> None:
    """The state of a callback is saved, and its hooks are called elsewhere."""


def _samples(batch: Any) -> int:
    """Returns the first dimension of the first tensor in a batch; 1 if it has none."""
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((_samples(part) for part in parts if isinstance(part, (torch.Tensor, Mapping, list, tuple))), 1)


def _loss(output: Any) -> torch.Tensor:
    """Returns the loss that a training step returned, itself or under "loss"."""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(loss, torch.Tensor):
        raise MisusedRun("training_step returned no loss; a run needs the loss of each of its batches")
    return loss


def _loaders(module: Any, train: Any, validation: Any, datamodule: Any) -> tuple[Any, Any]:
    for owner in (datamodule, module):
        if owner is not None:
            owner.prepare_data()
            owner.setup("fit")
    for owner in (datamodule, module):
        if owner is not None and train is None:
            train = _of_hook(owner, "train_dataloader")
        if owner is not None and validation is None:
            validation = _of_hook(owner, "val_dataloader")
    return train, validation


def _of_hook(owner: Any, hook: str) -> Any:
    """Returns what a hook of a module or datamodule returns, if it is overridden."""
    return getattr(owner, hook)() if overrides(owner, hook) else None


@dataclass(frozen=True)
class _Schedule:
    """What `configure_optimizers` returned.

    Attributes:
        optimizer: the one of the module.
        of_steps: a scheduler that steps once a step.
        of_epochs, every: another one, which steps at the end of epochs, and of how many.
    """

    optimizer: torch.optim.Optimizer
    of_steps: LRScheduler | None = None
    of_epochs: LRScheduler | None = None
    every: int = 1

    def register(self, run: Run) -> None:
        """Has the scheduler of epochs stepped."""
        scheduler, every = self.of_epochs, self.every
        if scheduler is None:
            return

        def step(done: Step) -> None:
            if done.ends_epoch and (done.epoch + 1) % every == 0:
                scheduler.step()

        run.after_step(step, state={"scheduler of epochs": scheduler})


def _optimizers(module: Any) -> _Schedule:
    """Returns the optimizer of a module and its scheduler."""
    given = module.configure_optimizers()
    scheduler: Any = None
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], (list, tuple)):
        given, schedulers = given
        if len(schedulers) > 1:
            raise MisusedRun("configure_optimizers returned several schedulers; a run has one, such as SequentialLR")
        scheduler = schedulers[0] if schedulers else None
    if isinstance(given, Mapping):
        given, scheduler = given["optimizer"], given.get("lr_scheduler")
    if isinstance(given, (list, tuple)):
        if len(given) != 1:
            raise MisusedRun(
                f"configure_optimizers returned {len(given)} optimizers, but there is one loss; put all parameters into"
                " groups of one optimizer, or write the loop of a run, where each optimizer has its loss"
            )
        given = given[0]
    options = scheduler if isinstance(scheduler, Mapping) else {"scheduler": scheduler}
    found, interval, every = options["scheduler"], options.get("interval", "epoch"), options.get("frequency", 1)
    if found is None:
        return _Schedule(given)
    if isinstance(found, ReduceLROnPlateau):
        raise MisusedRun(
            "configure_optimizers returned a ReduceLROnPlateau, which follows a figure of the validation; write the"
            " loop of a run, and call it in run.after_step(fn, state=...), as docs/how-to/scripts.md shows it"
        )
    if interval == "epoch":
        return _Schedule(given, of_epochs=found, every=every)
    if every != 1:
        raise MisusedRun(
            f"configure_optimizers returned a scheduler with frequency {every}; a run steps it after each step: build"
            " it for steps"
        )
    return _Schedule(given, of_steps=found)
