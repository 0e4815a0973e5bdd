"""Trains a LightningModule in a run: `pangea.lightning.fit(module, train_loader, val_loader)` instead of `Trainer.fit`.

Needs the package pytorch-lightning or lightning, which is not installed with Pangea: `pip install
'pangea[lightning]'`. The loop is that of a run; the module keeps its steps, its hooks and `self.log`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from pangea.errors import MisusedRun, PangeaError
from pangea.loaders import parts_of
from pangea.services.options import RunOptions
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


def fit(
    module: Any,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: Any = None,
    *,
    max_epochs: int = RunOptions.epochs,
    gradient_clip_val: float | None = None,
    shards: int = RunOptions.shards,
    seed: int = RunOptions.seed,
    run_dir: str | None = None,
) -> Run:
    """Trains a LightningModule in a run, and returns the run when its final weights are written.

    The module's `configure_optimizers`, `training_step`, `validation_step`, the hooks `on_fit_start`, `on_fit_end`,
    `on_train_start`, `on_train_end`, `on_train_epoch_start`, `on_train_epoch_end`, `on_validation_epoch_start` and
    `on_validation_epoch_end`, and `self.log` work as with a Trainer. A batch of `training_step` is one shard of a step;
    what it logs is the mean over the step. Validation runs after each epoch, on all validation data.

    Args:
        module: a LightningModule with one optimizer and automatic optimization.
        train_dataloaders: a DataLoader over a map-style dataset; default: that of the datamodule, or of the module. Its
            batch size is the number of samples of a step. The run orders the samples itself.
        val_dataloaders: a DataLoader, or None for no validation; default: that of the datamodule.
        datamodule: a LightningDataModule.
        max_epochs, shards, seed: options of a local run; ignored when an existing run is joined, as is the batch size.
        gradient_clip_val: maximum global norm of a step's gradient.
        run_dir: of a local run; default: `pangea-runs/TIME-SEED`.
    Returns:
        the run, which has finished or was interrupted; `run.run_dir` has its files.
    Raises:
        MisusedRun: the module or a DataLoader needs something that a run cannot do; the message says what to do.
    """
    if not module.automatic_optimization:
        raise MisusedRun(
            "the LightningModule has automatic_optimization = False; return the loss of training_step, and let the run"
            " call the optimizer"
        )
    train, validation = _loaders(module, train_dataloaders, val_dataloaders, datamodule)
    parts = parts_of(train)
    optimizer, scheduler = _optimizers(module)
    run = join(
        module,
        optimizer,
        scheduler=scheduler,
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
    _Loop(module, run, validation).run()
    return run


class _Loop:
    def __init__(self, module: Any, run: Run, validation: Any) -> None:
        self._module, self._run, self._validation = module, run, validation
        self._logger = RunLogger(run)
        # With a Fabric, self.log hands over what it is given at once, and needs no Trainer. The module keeps only a
        # weak reference to it.
        self._fabric = module.fabric = Fabric(accelerator="cpu", devices=1, loggers=self._logger)

    def run(self) -> None:
        module = self._module
        module.on_fit_start()
        module.on_train_start()
        for _ in self._run.epochs():
            self._train_epoch()
            if self._validation is not None:
                self._validate()
        module.on_train_end()
        module.on_fit_end()
        module.fabric = None
        self._run.finish()

    def _train_epoch(self) -> None:
        module = self._module
        module.train()
        module.on_train_epoch_start()
        for number, batch in enumerate(self._run.batches()):
            data = module.transfer_batch_to_device(batch.data, module.device, 0)
            self._run.step(_loss(module.training_step(data, number)))
        module.on_train_epoch_end()

    def _validate(self) -> None:
        """Logs the mean of what validation steps log, over all samples, as a Trainer does."""
        module = self._module
        module.eval()
        module.on_validation_epoch_start()
        with torch.no_grad(), self._logger._averaging() as mean:
            for number, batch in enumerate(self._validation):
                mean.samples = _samples(batch)
                module.validation_step(module.transfer_batch_to_device(batch, module.device, 0), number)
        module.on_validation_epoch_end()


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
    if datamodule is not None:
        datamodule.prepare_data()
        datamodule.setup("fit")
    for owner in (datamodule, module):
        if owner is not None and train is None:
            train = _of_hook(owner, "train_dataloader")
        if owner is not None and validation is None:
            validation = _of_hook(owner, "val_dataloader")
    return train, validation


def _of_hook(owner: Any, hook: str) -> Any:
    """Returns what a hook of a module or datamodule returns, if it is overridden."""
    # The package lightning has a copy of pytorch_lightning, whose classes are others.
    package = getattr(type(owner), hook).__module__.partition(".")[0]
    return None if package in ("pytorch_lightning", "lightning") else getattr(owner, hook)()


def _optimizers(module: Any) -> tuple[torch.optim.Optimizer, Any]:
    """Returns the optimizer of a module and its scheduler, which steps once a step."""
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
                " groups of one optimizer"
            )
        given = given[0]
    if isinstance(scheduler, Mapping):
        if scheduler.get("interval", "epoch") != "step" or scheduler.get("frequency", 1) != 1:
            raise MisusedRun(_SCHEDULER)
        scheduler = scheduler["scheduler"]
    elif scheduler is not None:
        raise MisusedRun(_SCHEDULER)
    return given, scheduler


_SCHEDULER = (
    "configure_optimizers returned a scheduler that steps once an epoch; a run steps it once a step. Build it for"
    " steps, and return {'optimizer': ..., 'lr_scheduler': {'scheduler': ..., 'interval': 'step'}}"
)
