"""Trains with the Trainer of transformers in a run: `PangeaTrainer` instead of `Trainer`.

Needs the packages transformers and accelerate, which are not installed with Pangea: `pip install
'pangea[transformers]'`.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from pangea.errors import MisusedRun, PangeaError
from pangea.loaders import LoaderParts, parts_of
from pangea.services.options import RunOptions
from pangea.training.optimizer import Step
from pangea.worker.join import join
from pangea.worker.run import Run

try:
    from transformers import Trainer, TrainerState
    from transformers.trainer_utils import TrainOutput
except ImportError as error:
    raise PangeaError(
        f"pangea.transformers needs the packages transformers and accelerate ({error}); install them: pip install"
        " 'pangea[transformers]'"
    ) from error

__all__ = ["PangeaTrainer"]

# What each line of metrics.jsonl has anyway.
_KNOWN = ("loss", "epoch")


class PangeaTrainer(Trainer):  # type: ignore[misc]  # the package is not there when types are checked
    """A Trainer whose `train` is a run: with any number of workers, to the same bits.

    Its model, datasets, collator, loss, optimizer, schedule, callbacks and `evaluate` are those of a Trainer. Of the
    arguments, `per_device_train_batch_size` times `gradient_accumulation_steps` is the number of samples of a step,
    over all workers; `num_train_epochs`, `seed`, `max_grad_norm`, `dataloader_num_workers`, the learning rate and its
    schedule mean what they mean in a Trainer. `eval_strategy` is "no" or "epoch". Pangea writes checkpoints, so
    `save_strategy` is "no".

    Args:
        *args, **kwargs: of a Trainer.
        shards: of a step; an option of a local run.
        run_dir: of a local run; default: `pangea-runs/TIME-SEED`.
    """

    def __init__(self, *args: Any, shards: int = RunOptions.shards, run_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shards, self._run_dir = shards, run_dir
        self.run: Run | None = None

    def train(self, resume_from_checkpoint: Any = None, **_: Any) -> Any:
        """Trains, and returns the steps and the mean loss as a Trainer does; `run` is then the run.

        Args:
            resume_from_checkpoint: refused; a run is resumed by `pangea train --resume RUN_DIR`.
            **_: of `Trainer.train`, ignored.
        Raises:
            MisusedRun: an argument asks for what a run cannot do; the message says what to do.
        """
        _refuse(self.args, resume_from_checkpoint)
        parts = parts_of(self.get_train_dataloader())
        batch_size = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        epochs = int(self.args.num_train_epochs)
        steps = epochs * math.ceil(len(parts.dataset) / batch_size)
        self.create_optimizer_and_scheduler(steps)
        self.run = run = self._join(parts, batch_size, epochs)
        if run.dataset.steps != steps:
            run.close()
            raise MisusedRun(
                f"the run has {run.dataset.steps} steps, but the arguments of the Trainer make {steps}, which its"
                f" learning rate follows; start the run with --batch-size {batch_size} --epochs {epochs}, and without"
                " --drop-last"
            )
        return _Loop(self, run).run()

    def _join(self, parts: LoaderParts, batch_size: int, epochs: int) -> Run:
        return join(
            self.model,
            self.optimizer,
            scheduler=self.lr_scheduler,
            clip_norm=self.args.max_grad_norm or None,
            dataset=parts.dataset,
            collate_fn=parts.collate_fn,
            loader_processes=parts.loader_processes,
            epochs=epochs,
            batch_size=batch_size,
            shards=self._shards,
            seed=self.args.seed,
            run_dir=self._run_dir,
        )

    def loss_weight(self, inputs: Any) -> float | torch.Tensor | None:
        """Returns what the loss of `inputs` is a mean over: the predicted tokens, or None for the samples.

        Override it together with `compute_loss`.
        """
        weight: float | torch.Tensor | None = self.get_batch_samples(iter([inputs]), 1, self.args.device)[1]
        return weight

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs `logs` as a Trainer does, `start_time` included, and with `run.log` what the run does not know."""
        super().log(logs, start_time)
        if self.run is not None:
            numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            self.run.log({name: value for name, value in numbers.items() if name not in _KNOWN})


class _Loop:
    """The loop of a run, with what a Trainer calls in its own."""

    def __init__(self, trainer: PangeaTrainer, run: Run) -> None:
        self._trainer, self._run = trainer, run
        self._losses: list[float] = []
        self._logged = 0

    def run(self) -> Any:
        trainer, run = self._trainer, self._run
        trainer.state = TrainerState(
            max_steps=run.dataset.steps,
            num_train_epochs=int(trainer.args.num_train_epochs),
            logging_steps=trainer.args.logging_steps,
            is_local_process_zero=trainer.is_local_process_zero(),
            is_world_process_zero=trainer.is_world_process_zero(),
        )
        run.after_step(self._after_step)
        self._call("on_train_begin")
        for _ in run.epochs():
            self._train_epoch()
            if trainer.control.should_training_stop:
                break
        self._call("on_train_end")
        run.finish()
        loss = sum(self._losses) / max(1, len(self._losses))
        return TrainOutput(run.steps, loss, {"train_loss": loss})

    def _train_epoch(self) -> None:
        trainer = self._trainer
        trainer.model.train()
        self._call("on_epoch_begin")
        for batch in self._run.batches():
            inputs = trainer._prepare_inputs(batch.data)
            with trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(trainer.model, inputs)
            self._run.step(loss, weight=trainer.loss_weight(inputs))
        self._call("on_epoch_end")
        if trainer.control.should_evaluate:
            trainer.evaluate()

    def _after_step(self, step: Step) -> None:
        trainer = self._trainer
        trainer.state.global_step = step.number + 1
        trainer.state.epoch = trainer.state.global_step / self._run.dataset.steps_per_epoch
        self._losses.append(step.loss)
        self._call("on_step_end")
        if trainer.control.should_log:
            recent, self._logged = self._losses[self._logged :], len(self._losses)
            rate = trainer.optimizer.param_groups[0]["lr"]
            trainer.log({"loss": sum(recent) / len(recent), "learning_rate": rate})

    def _call(self, event: str) -> None:
        trainer = self._trainer
        trainer.control = getattr(trainer.callback_handler, event)(trainer.args, trainer.state, trainer.control)


def _refuse(args: Any, resume_from_checkpoint: Any) -> None:
    if resume_from_checkpoint:
        raise MisusedRun(
            "train(resume_from_checkpoint=...) is not how a run continues; use: pangea train --resume RUN_DIR"
        )
    if args.max_steps > 0:
        raise MisusedRun(
            "max_steps is set; a run has whole epochs: set num_train_epochs, and end it early with run.stop"
        )
    if args.num_train_epochs != int(args.num_train_epochs):
        raise MisusedRun(f"num_train_epochs is {args.num_train_epochs}; a run has whole epochs")
    if str(args.eval_strategy) not in ("IntervalStrategy.NO", "IntervalStrategy.EPOCH", "no", "epoch"):
        raise MisusedRun('eval_strategy is "steps"; a run evaluates between epochs: set it to "epoch" or "no"')
    if str(args.save_strategy) not in ("SaveStrategy.NO", "IntervalStrategy.NO", "no"):
        raise MisusedRun(
            'save_strategy is not "no"; Pangea writes checkpoints into the run directory, and the final weights'
        )
