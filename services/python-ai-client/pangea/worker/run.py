"""The training API: what a training loop calls.

run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from pangea.contract import MAX_STOP_BYTES
from pangea.errors import BrokenPromise, MisusedRun, script_line
from pangea.rundir.notices import Notices
from pangea.training.determinism import UncaughtErrorHook, add_advice, preserved_random_state, seed_held_out
from pangea.training.lease import Lease
from pangea.training.optimizer import StepFunction
from pangea.training.snapshot import HasState
from pangea.training.unsaved import DictState
from pangea.worker.batches import Batch
from pangea.worker.dataset_facts import DatasetFacts
from pangea.worker.figures import checked
from pangea.worker.placement import placed_all
from pangea.worker.rehearser import Rehearser
from pangea.worker.results import write_results
from pangea.worker.shard_loop import ShardLoop
from pangea.worker.sigterm import Sigterm, Stopped
from pangea.worker.worker import Worker

State: TypeAlias = HasState | dict[str, Any]

if TYPE_CHECKING:
    from pangea.services.embedded import EmbeddedServices
    from pangea.worker.probes import HealthServer


_ALREADY_ENDED = (
    "run.batches() was called again after the last step of the run: its first pass went through all epochs. Write "
    "`for epoch in run.epochs(): for batch in run.batches(): ...` for a loop over epochs. The weights have been written"
)


class Run:
    """A run, as seen by one of its workers. Returned by `pangea.join`."""

    def __init__(
        self,
        worker: Worker,
        run_dir: Path | None,
        embedded: EmbeddedServices | None,
        health: HealthServer | None,
        sigterm: Sigterm,
        notices: Notices,
        rehearser: Rehearser,
        uncaught: UncaughtErrorHook,
    ) -> None:
        self._worker, self._embedded, self._health, self._sigterm = worker, embedded, health, sigterm
        self._training = worker.training
        self._notices, self._rehearser, self._uncaught = notices, rehearser, uncaught
        self._loop = ShardLoop(worker, rehearser, notices, sigterm)
        sigterm.may_raise = lambda: worker.waiting.now
        uncaught.on_error = self._report
        self._pending: Lease | None = None  # of an epoch that the script's loop has not reached yet
        self._epoch: int | None = None  # of the loop over `epochs`; None outside of one
        self._finished = False
        self.run_dir = run_dir

    @property
    def run_id(self) -> str:
        """The ID of the run, the same for all its workers."""
        return self._worker.settings.run_id

    @property
    def steps(self) -> int:
        """The number of steps applied to this worker's parameters."""
        return self._worker.step

    @property
    def dataset(self) -> DatasetFacts:
        """Facts about the dataset of the run: columns, classes, vocabulary, steps."""
        return self._worker.dataset

    @property
    def finished(self) -> bool:
        """Whether the run has ended, with all its steps or by `stop`; false if only this worker was stopped."""
        return self._finished

    @property
    def stopped(self) -> str:
        """Why the run ended before its last step; empty if it did not."""
        return self._worker.ended.stopped if self._worker.ended is not None else ""

    def epochs(self) -> Iterator[int]:
        """Yields the number of each epoch, from 0. Within that loop, `batches` yields the batches of the epoch.

        A worker that joins late or falls behind may miss epochs; do what must happen once an epoch in `after_step` (see
        Step.ends_epoch).
        """
        while (lease := self._next_lease()) is not None:
            self._pending, self._epoch = lease, lease.epoch
            yield lease.epoch
            if self._pending is lease:
                raise MisusedRun("a loop over run.epochs() must iterate over run.batches() in each epoch")
        self._epoch = None

    def batches(self) -> Iterator[Batch]:
        """Yields the batches that this worker computes, until the run or, within a loop over `epochs`, the epoch ends.

        Each batch is one shard of a step. Call `step` once for each batch. The model's parameters change between two
        batches, when the step is complete on all workers. Leaving this loop early and then calling `finish` ends the
        run for all workers, after the last complete step.

        Raises:
            MisusedRun: `step` was not called for the last batch, or the run has already ended.
            BrokenPromise: naming what in the script would make the result depend on the number of workers.
            pangea.WireError: a service was unreachable for more than PANGEA_RECONNECT_SECONDS (default 600).
            pangea.PeerError: the run cannot continue with this worker; the message says why.
        """
        if self._finished and self._epoch is None:
            self._write({})
            raise MisusedRun(_ALREADY_ENDED)
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        try:
            while (lease := self._next_lease()) is not None:
                if self._epoch is not None and lease.epoch != self._epoch:
                    self._pending = lease
                    return
                yield from self._loop.compute(lease)
                if self._sigterm.requested:
                    self._worker.leave("stopped by a signal")
                    return
                self._training.check("loop")
                if lease.assumed:
                    continue  # the orchestrator's answer was a different one
                if self._rehearser.doctor_has_finished:
                    self.stop("pangea doctor has finished its checks")
                self._worker.submit(lease)
        except Stopped:
            self._worker.leave("stopped by a signal")
        except GeneratorExit:
            self._rehearser.fail_child("the script left its loop, or raised an error in it")
            raise

    def _next_lease(self) -> Lease | None:
        """Returns the next lease; None if the run has ended, or this worker should stop."""
        if (pending := self._pending) is not None:
            self._pending = None
            return pending
        if self._finished or self._sigterm.requested:
            return None
        lease = self._worker.next_lease(lambda: self._sigterm.requested, may_assume=self._may_assume)
        if lease is None:
            self._mark_ended()
        return lease

    def _may_assume(self, step: int, shards: int) -> bool:
        """Returns whether a lease may be computed before it is known: it is not rehearsed, and begins no epoch."""
        begins_epoch = step % self._worker.dataset.steps_per_epoch == 0
        return not (begins_epoch and self._epoch is not None) and not self._rehearser.would_rehearse(step, shards)

    def _mark_ended(self) -> None:
        """Records that this worker computes no more shards, and restores signal handlers and torch."""
        self._finished = self._worker.ended is not None
        self._sigterm.restore()
        self._training.unguard()

    def _report(self, error: BaseException) -> None:
        """Reports a script that breaks the promise to the orchestrator, so that the run ends for all workers."""
        if isinstance(error, BrokenPromise):
            self._worker.leave(
                "its script breaks the promise of the same bits", f"{script_line(error.__traceback__)}{error}"
            )

    def step(
        self,
        loss: torch.Tensor,
        *,
        weight: float | torch.Tensor | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Submits the loss of the current batch, and runs backward.

        The step's loss is the weighted mean over its batches, or their sum. A run with several optimizers may have a
        loss for each, as a GAN: call this once for each optimizer that is to make a step. All of them start from the
        same parameters; an optimizer without a loss makes no step. To train them in turn, choose by `batch.step`.

        Args:
            loss: scalar; the mean over what counts in the batch, or its sum.
            weight: the number of items that the mean is taken over, such as tokens without padding: at least 0; if 0,
                nothing in the batch counts and the loss is ignored. Default: the batch's samples.
            reduction: "sum" for a loss that is a sum over the batch: then the step's gradient is that of the sum over
                the whole step.
            optimizer: whose parameters get the gradient of this loss; default: all that the loss depends on.
        Raises:
            MisusedRun: there is no current batch, the loss is not a scalar, or the weight is invalid.
            NotFinite: the loss is NaN or infinite.
            BrokenPromise: naming a forbidden change by the script.
            NondeterministicOperation: naming the operation.
            UnsupportedModel: naming a tensor that cannot be trained.
        """
        self._loop.submit_loss(loss, weight, reduction, optimizer)

    def stop(self, reason: str) -> None:
        """Ends the run for all workers after the step of the current batch, whose weights are the final ones.

        It is the same step for any number of workers, if the decision depends only on a batch or its loss: all shards
        of a step are computed before it ends. Call it in the loop over `batches`, before `step`; a call after `step`
        applies to the next batch. Continue the loop, which then ends by itself.

        Args:
            reason: shown to users and recorded in the ledger.
        """
        self._loop.stop_reason = reason.encode()[:MAX_STOP_BYTES].decode(errors="ignore") or "the script asked for it"

    def log(self, figures: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Logs figures for people, such as an accuracy. They are written to the step's line in metrics.jsonl.

        `pangea status`, the dashboard and `pangea tensorboard` show them. Which step a figure belongs to depends on
        where this is called; `steps` has its number:

        - In the loop over `batches`: to the step of the current batch. The step's value is the mean over its batches
          that log the figure, weighted as their losses: the same bits for any number of workers.
        - In a function of `before_step` or `after_step`: to that step. All workers log the same, and one value counts;
          it replaces the mean over batches of the same name.
        - Outside of the loop, such as an evaluation between two epochs: to the next step, whose number is the number of
          steps that the parameters have applied. After the last step, the figures become results, as those of `finish`.

        `run.log` changes nothing that is trained, and figures may differ when a step is computed again, such as times.

        Args:
            figures: numbers by name; a tensor or array with one element is a number. NaN and infinities become null.
            **more: the same, as keywords.
        Raises:
            MisusedRun: naming the figure that is not a number, has a name of more than 128 bytes, or is the 65th of its
                step; or `step=` was given, which the run knows.
        """
        values = checked(figures, more)
        worker = self._worker
        if self._training.in_step:
            worker.logged.applied(worker.step, values)
        elif not self._loop.log(values) and not self._rehearser.in_child and not self._is_late():
            worker.logged.before(worker.step, values)

    def _is_late(self) -> bool:
        """Whether this worker reached the end of an epoch after the others, so that it has later parameters."""
        return self._epoch is not None and not self._finished and self.steps % self.dataset.steps_per_epoch != 0

    def before_step(self, function: StepFunction, *, state: Mapping[str, State] | None = None) -> StepFunction:
        """Registers a function that every worker calls before each step of the optimizer.

        The parameters' `grad` is then that of the whole step. The function may change gradients and the optimizer's
        settings. Random numbers drawn in it are the same on all workers. Usable as a decorator.

        Args:
            function: called with a `pangea.Step`.
            state: what the function changes besides, as for `after_step`.
        """
        self._keep(state)
        self._training.before.append(function)
        return function

    def after_step(self, function: StepFunction, *, state: Mapping[str, State] | None = None) -> StepFunction:
        """Registers a function that every worker calls after each step, with the same parameters.

        Use it to clip weights, average parameters, or log. It may change parameters and buffers. Random numbers drawn
        in it are the same on all workers. Register it before the loop over `batches`, which loads a checkpoint.

        Args:
            function: called with a `pangea.Step`.
            state: what the function changes besides parameters and buffers, by a name of your choice: objects with
                `state_dict` and `load_state_dict`, or dicts of numbers, text and tensors. It is saved in checkpoints
                and sent to workers that join late.
        Raises:
            MisusedRun: two functions use one name, or the state cannot be saved.
        """
        self._keep(state)
        self._training.after.append(function)
        return function

    def _keep(self, state: Mapping[str, State] | None) -> None:
        """Makes what the script's functions change part of checkpoints."""
        for name, value in (state or {}).items():
            if name in self._training.state:
                raise MisusedRun(
                    f"two functions of run.before_step and run.after_step have state named {name!r}; use different"
                    " names"
                )
            if not isinstance(value, dict) and not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
                raise MisusedRun(
                    f"the state {name!r} is a {type(value).__name__}, which cannot be saved; give an object with"
                    " state_dict and load_state_dict, or a dict of numbers, text and tensors"
                )
            self._training.state[name] = DictState(value) if isinstance(value, dict) else value

    def held_out(self) -> Iterator[Batch]:
        """Yields the samples held out for evaluation, in dataset order.

        Random numbers that are drawn for a batch are the same on every worker, and those of training are not affected.
        """
        worker = self._worker
        batches = worker.data.held_out(worker.settings.batch_size)
        with preserved_random_state():
            for number, batch in enumerate(placed_all(batches, self._training.parameters.device)):
                seed_held_out(worker.settings.seed, worker.step, number)
                yield batch

    def finish(self, **results: Any) -> None:
        """Writes `final.safetensors` (a `state_dict`) and `result.json` into the run directory, if the run has ended.

        Every worker has the same parameters and writes the same bytes, so it does not matter which one writes last. If
        the loop over `batches` was left early, this ends the run for all workers, after the last complete step.

        Args:
            **results: figures for result.json, such as held_out_accuracy: numbers, tensors, text, and lists and dicts
                of them.
        """
        self._rehearser.fail_child("the script left the loop")
        if not self._finished and not self._sigterm.requested:
            self._end_run()
        if self._finished:
            self._write({**self._worker.logged.of_shards(self._worker.step), **results})
        self.close()

    def _end_run(self) -> None:
        """Ends the run for all workers after the last complete step, and brings this worker to that step."""
        self._pending = None
        reason = f"the script of {self._worker.name} left its loop over run.batches() in step {self._worker.step}"
        try:
            if self._worker.next_lease(lambda: self._sigterm.requested, reason) is not None:
                raise MisusedRun(
                    "the orchestrator continues the run that the script has left; use the same release of both"
                )
        except Stopped:
            self._worker.leave("stopped by a signal")
        self._mark_ended()
        if self._finished and self._worker.step == 0:
            self._notices.add("the run ended before its first step: final.safetensors has untrained weights")

    def _write(self, results: dict[str, Any]) -> None:
        ended = self._worker.ended
        if self.run_dir is not None and ended is not None:
            write_results(
                self.run_dir,
                self._worker.parameters,
                self._worker.step,
                results,
                incidents=ended.incidents,
                stopped=ended.stopped,
                content_hash=self._worker.settings.content_hash,
            )

    def close(self) -> None:
        """Closes this worker's connections, and stops the services of a local run."""
        self._uncaught.remove()
        self._close_connections()

    def _close_connections(self) -> None:
        if self._health is not None:
            self._health.worker = None
        self._worker.close()
        self._sigterm.restore()
        self._training.unguard()
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: types.TracebackType | None
    ) -> None:
        add_advice(error)
        if error is None:
            self.close()
        else:
            # The hook that prints the error must remain installed until the script ends with it.
            self._report(error)
            self._close_connections()
