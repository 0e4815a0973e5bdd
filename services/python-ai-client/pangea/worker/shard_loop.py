"""The computation of a lease: yields its batches to the script, and takes their losses."""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from pangea.errors import BrokenPromise, MisusedRun, PangeaError, calling_line
from pangea.rundir.notices import Notices
from pangea.training.contribution import Contribution
from pangea.training.determinism import allows_nondeterminism, is_nondeterministic, nondeterminism_error, seed_all
from pangea.training.hints import hint_about
from pangea.training.lease import Lease, ShardReport
from pangea.worker.batches import Batch
from pangea.worker.figures import add
from pangea.worker.placement import placed
from pangea.worker.rehearser import Rehearser
from pangea.worker.sigterm import Sigterm
from pangea.worker.worker import Worker


class NotFinite(PangeaError, ArithmeticError):
    """A loss is NaN or infinite; the message names the shard."""


@dataclass
class _Losses:
    """The losses of the current batch: one, or one for each of several optimizers.

    Attributes:
        scale, summed: of all of them; see `ShardLoop._scale`.
        values: numbers; scalars, float64, on a device that the CPU should not wait for.
        gradients: of the parameters; None in the child of a rehearsal that cannot compute gradients.
        optimizers: the indices of those that a loss was given for; empty if one loss is for all.
    """

    scale: float
    summed: bool
    values: list[torch.Tensor | float] = field(default_factory=list)
    gradients: list[torch.Tensor | None] | None = field(default_factory=list)
    optimizers: frozenset[int] = frozenset()

    def add(self, value: torch.Tensor | float, gradients: list[torch.Tensor | None] | None) -> None:
        """Adds a loss, whose gradients are those of other parameters than before."""
        self.values.append(value)
        if self.gradients is None or gradients is None:
            self.gradients = None
        elif not self.gradients:
            self.gradients = gradients
        else:
            self.gradients = [new if old is None else old for old, new in zip(self.gradients, gradients, strict=True)]


class _Computed(NamedTuple):
    """A batch whose losses were given, and its contribution; None if it could not be computed."""

    batch: Batch
    lease: Lease
    losses: _Losses
    contribution: Contribution | None
    stop_reason: str


class ShardLoop:
    """Computes leases in the script's loop, and rehearses some of them.

    On an accelerator, the contribution of a batch is recorded when the next one was queued: it is copied meanwhile.

    Attributes:
        stop_reason: why the run should end after the step of the current batch; empty if it should not.
    """

    def __init__(self, worker: Worker, rehearser: Rehearser, notices: Notices, sigterm: Sigterm) -> None:
        self._worker, self._rehearser, self._notices, self._sigterm = worker, rehearser, notices, sigterm
        self._training = worker.training
        self._batch: Batch | None = None
        self._lease: Lease | None = None
        self._loss_is_sum: bool | None = None
        self._losses: _Losses | None = None  # of a batch for which further losses may follow
        self._step_optimizers: tuple[int, frozenset[int]] | None = None
        self._device = worker.parameters.device
        self._computed: _Computed | None = None  # not recorded yet
        self.stop_reason = ""
        self._figures: dict[str, float] | None = None

    def log(self, figures: Mapping[str, float]) -> bool:
        """Logs figures about the current batch. Returns false if the script is not in its loop over batches."""
        if self._figures is None:
            return False
        add(self._figures, figures)
        return True

    def compute(self, lease: Lease) -> Iterator[Batch]:
        """Yields the lease's batches, and checks that the script calls `Run.step` for each."""
        worker = self._worker
        self._lease, self._computed = lease, None
        batches: Iterator[Batch] = worker.data.training(lease.epoch, lease.epoch_step, lease.step, lease.shards)
        rehearse = self._rehearser.should_rehearse(lease)
        if lease.assumed:
            assumed = lease.shards
            yield from self._ahead(lease, batches)
            if lease.assumed:
                return
            if lease.shards != assumed:
                batches = worker.data.training(lease.epoch, lease.epoch_step, lease.step, lease.shards, done=1)
        elif rehearse:
            received = list(self._received(batches))
            self._check_repeatable(received)
            yield from self._rehearse(lease, received)
            batches = iter(received)
        try:
            for batch in self._received(batches):
                if batch.samples == 0:
                    self._record_rest()
                    self._record_empty(lease, batch)
                else:
                    yield from self._shard(batch, lease.step)
            self._record_rest()
            self._compare()
        finally:
            self._rehearser.abandon()

    def _ahead(self, lease: Lease, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the first batch of an assumed lease. If it is still assumed afterwards, it is to be dropped."""
        batch = next(self._received(batches), None)
        if batch is None:
            return
        if batch.samples > 0:
            yield from self._shard(batch, lease.step)
        elif self._worker.confirm(lease):
            self._record_empty(lease, batch)

    def _record_empty(self, lease: Lease, batch: Batch) -> None:
        lease.record(ShardReport(batch.shard, 0, 0.0, batch.hash, 0.0), self._worker.parameters.zero_sum())

    def _received(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches of a lease as they arrive, until this worker should stop."""
        while not self._sigterm.requested:
            started = time.perf_counter()
            batch = next(batches, None)
            self._worker.seconds.data += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _shard(self, batch: Batch, step: int) -> Iterator[Batch]:
        """Yields a batch to the script, after resetting the buffers and seeding the random generators for it."""
        self._worker.parameters.begin_shard()
        seed_all(batch.seed)
        self._batch = batch
        self._rehearser.begin_shard(batch)
        started = time.perf_counter()
        self._figures = self._worker.logged.of_shards(step)
        try:
            yield placed(batch, self._device)
        finally:
            figures, self._figures = self._figures, None
        if self._losses is not None:
            self._finish_batch()
        self._worker.seconds.compute += time.perf_counter() - started
        if self._batch is not None:
            raise MisusedRun(
                f"run.step was not called for shard {batch.shard} of step {batch.step}; call it once for every batch"
            )
        if self._lease is not None and figures:
            self._lease.log(batch.shard, figures)
        self._training.check("loop", bytes_too=self._worker.parameters.watch.in_full)

    def _rehearse(self, lease: Lease, batches: list[Batch]) -> Iterator[Batch]:
        """Yields a batch of the lease before all others: in a child process, or here if the device cannot be forked."""
        target = self._rehearser.fork(lease, batches)
        if target is None:
            return
        for repetition in range(1, target.repetitions + 1):
            self._rehearser.last_repetition = repetition == target.repetitions
            yield from self._shard(target.batch, lease.step)
        self._rehearser.fail_child("run.step was not called")

    def _check_repeatable(self, received: list[Batch]) -> None:
        """Loads one batch of a rehearsed lease again, and reports different bits as an error or a notice."""
        try:
            for batch in [batch for batch in received if batch.samples > 0][:1]:
                self._worker.data.check_repeatable(batch)
        except BrokenPromise as error:
            self._report_broken(error)

    def _report_broken(self, error: BrokenPromise) -> None:
        if not allows_nondeterminism():
            raise error
        self._notices.add(f"{calling_line()}{error}")
        self._rehearser.disable()

    def _compare(self) -> None:
        """Compares the results of the rehearsal, if there was one, and reports a difference as an error or a notice."""
        try:
            inconclusive = self._rehearser.compare()
        except BrokenPromise as error:
            self._report_broken(error)
            return
        if inconclusive:
            self._notices.add(
                f"the rehearsal of a shard in a different order was inconclusive ({inconclusive}); a dependence on the"
                " order of batches may go undetected"
            )

    def submit_loss(
        self,
        loss: torch.Tensor,
        weight: float | torch.Tensor | None,
        reduction: str,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Takes a loss of the current batch; see `Run.step`."""
        batch, lease = self._batch, self._lease
        if batch is None or lease is None:
            raise MisusedRun(
                "run.step was called without a current batch; call it once for every batch that run.batches() yields"
            )
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise MisusedRun(
                f"run.step needs the loss of the batch as a scalar tensor, but got {what}. Use reduction='mean' in the"
                " loss, or run.step(loss, reduction='sum')"
            )
        index = self._index_of(optimizer)
        if lease.assumed and not self._worker.confirm(lease):
            # As when the connection is lost: the orchestrator leases the shard again, or nobody needs it.
            self._worker.parameters.buffers.reset()
            self._batch, self._losses, self.stop_reason = None, None, ""
            return
        scale, summed = self._scale(batch, weight, reduction)
        losses = self._losses or _Losses(scale, summed)
        if (scale, summed) != (losses.scale, losses.summed):
            raise MisusedRun(
                f"the losses of shard {batch.shard} of step {batch.step} have different weights, {losses.scale:g} and"
                f" {scale:g}; a step has one divisor, so give all losses of a batch the same weight"
            )
        value = loss.detach().double().reshape(()) if self._device.computes_ahead else float(loss.item())
        if scale and isinstance(value, float):
            self._check_finite(batch, value)
        if weight is None and not summed and self._rehearser.in_first_steps and (hint := hint_about(loss)):
            self._notices.add(hint)
        if index is None:
            self._rehearser.end_forward()
        losses.add(value, self._gradients(loss, 1.0 if summed else scale, index))
        if index is not None:
            losses.optimizers |= {index}
        self._losses = losses
        if index is None or len(losses.optimizers) == len(self._training.optimizers):
            self._finish_batch()

    def _index_of(self, optimizer: torch.optim.Optimizer | None) -> int | None:
        """Returns the index of the optimizer that a loss is for; None if it is for all.

        Raises:
            MisusedRun: it does not belong to the run, or the batch has a loss for it already.
        """
        if optimizer is None:
            if self._losses is not None:
                raise MisusedRun("run.step was called for a batch with and without optimizer=...; give it in each call")
            return None
        known = self._training.optimizers
        index = next((number for number, one in enumerate(known) if one is optimizer), None)
        if index is None:
            raise MisusedRun(
                f"run.step was given a {type(optimizer).__name__} that does not belong to the run; give all optimizers"
                " to pangea.join(model, [...])"
            )
        if self._losses is not None and index in self._losses.optimizers:
            raise MisusedRun(
                f"run.step was called twice for optimizer {index} and one batch; add the losses up and call it once"
            )
        return index

    def _finish_batch(self) -> None:
        """Records the contribution of the current batch, after its last loss."""
        batch, lease, losses = self._batch, self._lease, self._losses
        assert batch is not None and lease is not None and losses is not None
        self._check_optimizers(batch, losses.optimizers)
        contribution = None
        if losses.gradients is None:
            self._worker.parameters.buffers.reset()
        else:
            contribution = self._worker.parameters.contribution(losses.gradients, batch.samples, losses.values)
        computed = _Computed(batch, lease, losses, contribution, self.stop_reason)
        self._batch, self._losses, self.stop_reason = None, None, ""
        if not self._device.computes_ahead or self._rehearser.is_rehearsing:
            self._record(computed)
        else:
            previous, self._computed = self._computed, computed
            if previous is not None:
                self._record(previous)

    def _record_rest(self) -> None:
        """Records the last batch."""
        computed, self._computed = self._computed, None
        if computed is not None:
            self._record(computed)

    def _record(self, computed: _Computed) -> None:
        """Records a contribution in its lease when it is on the CPU, or as the result of a rehearsal."""
        batch, losses, scale = computed.batch, computed.losses, computed.losses.scale
        if computed.contribution is None:
            total, values = None, [float(value) for value in losses.values]
        else:
            total, values = computed.contribution.arrived()
        for each in values if scale else []:
            self._check_finite(batch, each)
        value = functools.reduce(operator.add, values)
        if self._rehearser.take_rehearsed(value, total) or total is None:
            return
        self._rehearser.note_result(batch, value, total)
        computed.lease.record(
            ShardReport(
                batch.shard,
                batch.samples,
                value if losses.summed else value * scale if scale else 0.0,
                batch.hash,
                scale,
                losses.summed,
                computed.stop_reason,
            ),
            total,
        )

    def _check_finite(self, batch: Batch, value: float) -> None:
        if not math.isfinite(value):
            raise NotFinite(
                f"the loss of shard {batch.shard} of step {batch.step} is {value}, after {self._worker.step} complete"
                " steps. Lower the learning rate, clip the gradient (pangea.join(clip_norm=...)), or inspect the batch"
                " (batch.sample_ids)"
            )

    def _check_optimizers(self, batch: Batch, optimizers: frozenset[int]) -> None:
        """Checks that all shards of a step, as far as this worker computes them, train the same parameters."""
        before = self._step_optimizers
        if before is not None and before[0] == batch.step and before[1] != optimizers:
            raise MisusedRun(
                f"shard {batch.shard} of step {batch.step} has losses for other optimizers than the shard before;"
                " which optimizers make a step may depend on batch.step, but not on the batch"
            )
        self._step_optimizers = batch.step, optimizers

    def _gradients(self, loss: torch.Tensor, factor: float, index: int | None) -> list[torch.Tensor | None] | None:
        """Returns the gradients of a loss; None in the child of a rehearsal, if it cannot compute them."""
        optimizers = self._training.optimizers
        only = None
        if index is not None and len(optimizers) > 1:
            only = [parameter for group in optimizers[index].param_groups for parameter in group["params"]]
        try:
            return self._worker.parameters.gradients_of(loss if loss.dim() == 0 else loss.reshape(()), factor, only)
        except RuntimeError as error:
            if self._rehearser.cannot_differentiate(error):
                return None
            if is_nondeterministic(error):
                raise nondeterminism_error(error) from error
            if "backward through the graph a second time" in str(error):
                raise MisusedRun(
                    "the script called loss.backward() before run.step(loss), which calls it: delete the call"
                ) from error
            raise

    def _scale(self, batch: Batch, weight: float | torch.Tensor | None, reduction: str) -> tuple[float, bool]:
        """Returns the weight of the loss in a mean, and whether the loss is a sum.

        Raises:
            MisusedRun: the arguments are invalid, or `reduction` differs from that of an earlier batch.
        """
        if reduction not in ("mean", "sum"):
            raise MisusedRun(f"reduction is {reduction!r}; it must be 'mean' or 'sum'")
        summed = reduction == "sum"
        if self._loss_is_sum is None:
            self._loss_is_sum = summed
        if self._loss_is_sum is not summed:
            raise MisusedRun(
                "run.step was called with reduction='mean' and with reduction='sum' in one run; use the same one for"
                " every batch"
            )
        if summed and weight is not None:
            raise MisusedRun("run.step was given both a weight and reduction='sum': a sum has no weight")
        scale = float(batch.samples if weight is None else weight)
        if not math.isfinite(scale) or scale < 0:
            raise MisusedRun(
                f"the weight of shard {batch.shard} of step {batch.step} is {scale}; it must be a finite number of at"
                " least 0"
            )
        return scale, summed
