"""The training API: what a training loop does with its run.

run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
"""

from __future__ import annotations

import math
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from pangea.contract import MAX_STOP_BYTES
from pangea.errors import BrokenPromise, MisusedRun, PangeaError, calling_line, script_line
from pangea.rundir.notices import Notices
from pangea.training.determinism import TellsUncaught, allows_nondeterminism, explain, is_nondeterministic, refusal, seed_shard
from pangea.training.hints import hint_about
from pangea.training.lease import Lease, ShardReport
from pangea.training.optimizer import StepFunction
from pangea.training.snapshot import HasState
from pangea.worker.batches import Batch, held_out
from pangea.worker.dataset_facts import DatasetFacts
from pangea.worker.rehearsing import Rehearsing
from pangea.worker.results import write_results
from pangea.worker.sigterm import Sigterm, Stopped
from pangea.worker.worker import Worker

if TYPE_CHECKING:
    from pangea.services.embedded import EmbeddedServices
    from pangea.worker.probes import HealthServer

__all__ = ["MisusedRun", "NotFinite", "Run"]

_AGAIN = (
    "run.batches() was called again after the last step of the run: its first pass went through all epochs. Write "
    "`for epoch in run.epochs(): for batch in run.batches(): ...` for a loop over epochs. The weights are written"
)


class NotFinite(PangeaError, ArithmeticError):
    """A loss is no finite number; the message names the shard."""


class Run:
    """This process's part in a run. Made by `pangea.join`."""

    def __init__(
        self,
        worker: Worker,
        run_dir: Path | None,
        embedded: EmbeddedServices | None,
        health: HealthServer | None,
        sigterm: Sigterm,
        notices: Notices,
        rehearsing: Rehearsing,
        uncaught: TellsUncaught,
    ) -> None:
        self._worker, self._embedded, self._health, self._sigterm = worker, embedded, health, sigterm
        self._training = worker.training
        self._notices, self._rehearsing, self._uncaught = notices, rehearsing, uncaught
        sigterm.raises = lambda: worker.waiting
        uncaught.told = self._tell
        self._batch: Batch | None = None
        self._lease: Lease | None = None
        self._held: Lease | None = None  # taken, of an epoch that the script's loop has not come to
        self._epoch: int | None = None  # of the loop over `epochs`
        self._summed: bool | None = None
        self._stop = ""
        self._finished = False
        self.run_dir = run_dir

    @property
    def run_id(self) -> str:
        """Name of the run, the same for all its workers."""
        return self._worker.reply.run_id

    @property
    def steps(self) -> int:
        """Steps that this worker's parameters have applied."""
        return self._worker.step

    @property
    def dataset(self) -> DatasetFacts:
        """What the run trains on: columns, classes, vocabulary, steps."""
        return self._worker.dataset

    @property
    def finished(self) -> bool:
        """Whether the run has ended, with all its steps or by `stop`; false after this worker was asked to end."""
        return self._finished

    @property
    def stopped(self) -> str:
        """Why the run ended before its last step; empty where it did not."""
        return self._worker.ended.stopped if self._worker.ended is not None else ""

    def epochs(self) -> Iterator[int]:
        """Yields the number of each epoch, from 0. `batches` within that loop gives the batches of that epoch.

        A worker that joins late or falls behind may not see each epoch; what must happen once an epoch belongs into `after_step` (see Step.ends_epoch).
        """
        while (lease := self._take()) is not None:
            self._held, self._epoch = lease, lease.epoch
            yield lease.epoch
            if self._held is lease:
                raise MisusedRun("a loop over run.epochs() must go through run.batches() in each epoch")
        self._epoch = None

    def batches(self) -> Iterator[Batch]:
        """Yields the batches that this worker computes, until the run ends; within a loop over `epochs`, until the epoch does. Each is one shard of a step.

        Call `step` once for each. The model's parameters change between two batches, when the step of all workers is complete.
        Whoever leaves this loop before its end, and then calls `finish`, ends the run for all workers after the last whole step.

        Raises:
            MisusedRun: if `step` was not called for the last batch, or the run has ended already.
            BrokenPromise: naming what in the script would make the result depend on the number of workers.
            pangea.WireError: a service was lost and did not come back within PANGEA_RECONNECT_SECONDS (default 600).
            pangea.PeerError: the run cannot go on with this worker; the message says why.
        """
        if self._finished and self._epoch is None:
            self._write({})
            raise MisusedRun(_AGAIN)
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        try:
            while (lease := self._take()) is not None:
                if self._epoch is not None and lease.epoch != self._epoch:
                    self._held = lease
                    return
                yield from self._compute(lease)
                if self._sigterm.asked:
                    self._worker.leave("stopped by a signal")
                    return
                self._training.check("loop")
                if self._rehearsing.doctor_is_done:
                    self.stop("pangea doctor has seen enough")
                self._worker.submit(lease)
        except Stopped:
            self._worker.leave("stopped by a signal")
        except GeneratorExit:
            self._rehearsing.fail_child("the script left its loop, or raised an error in it")
            raise

    def _take(self) -> Lease | None:
        """The next lease; None when the run has ended, or this worker is to."""
        if (held := self._held) is not None:
            self._held = None
            return held
        if self._finished or self._sigterm.asked:
            return None
        lease = self._worker.next_lease(lambda: self._sigterm.asked)
        if lease is None:
            self._ended()
        return lease

    def _ended(self) -> None:
        """Notes that the worker has no more to do."""
        self._finished = self._worker.ended is not None
        self._sigterm.restore()
        self._training.unguard()

    def _tell(self, error: BaseException) -> None:
        """Tells everybody of a script that breaks the promise, so that the run ends for all."""
        if isinstance(error, BrokenPromise):
            self._worker.leave("its script breaks the promise of the same bits", f"{script_line(error.__traceback__)}{error}")

    def _compute(self, lease: Lease) -> Iterator[Batch]:
        """Yields the lease's batches and checks that each comes back through `step`."""
        worker = self._worker
        self._lease = lease
        batches: Iterator[Batch] = iter(worker.source.training(lease.epoch, lease.epoch_step, lease.step, lease.shards))
        if self._rehearsing.wants(lease):
            whole = list(self._received(batches))
            yield from self._rehearse(lease, whole)
            batches = iter(whole)
        try:
            for batch in self._received(batches):
                if batch.samples == 0:
                    lease.record(ShardReport(batch.shard, 0, 0.0, batch.hash, 0.0), lease.vectors.take().zero_())
                else:
                    yield from self._shard(batch, lease.step)
            self._compare()
        finally:
            self._rehearsing.abandon()

    def _received(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of a lease as they arrive, until this worker is to end."""
        while not self._sigterm.asked:
            started = time.perf_counter()
            with self._worker.interruptible():
                batch = next(batches, None)
            self._worker.seconds.data += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _shard(self, batch: Batch, step: int) -> Iterator[Batch]:
        """Gives a batch to the script, with state and random numbers as they have to be for it."""
        self._worker.parameters.begin_shard()
        seed_shard(self._worker.reply.seed, step, batch.shard)
        self._batch = batch
        self._rehearsing.begin_shard(batch)
        started = time.perf_counter()
        yield batch
        self._worker.seconds.compute += time.perf_counter() - started
        if self._batch is not None:
            raise MisusedRun(f"run.step was not called for shard {batch.shard} of step {batch.step}; call it once for every batch")
        self._training.check("loop", bytes_too=self._worker.parameters.watch.in_full)

    def _rehearse(self, lease: Lease, batches: list[Batch]) -> Iterator[Batch]:
        """In a child process, yields a batch of the lease before all others; in this one, nothing."""
        target = self._rehearsing.start(lease, batches)
        if target is None:
            return
        for again in range(target.times):
            self._rehearsing.last = again + 1 == target.times
            yield from self._shard(target.batch, lease.step)
        self._rehearsing.fail_child("run.step was not called")

    def _compare(self) -> None:
        try:
            inconclusive = self._rehearsing.compare()
        except BrokenPromise as error:
            if not allows_nondeterminism():
                raise
            self._notices.add(f"{calling_line()}{error}")
            self._rehearsing.give_up()
            return
        if inconclusive:
            self._notices.add(f"a rehearsal of a shard in another order came to no result ({inconclusive}); what depends on the order of batches may not be found")

    def step(self, loss: torch.Tensor, *, weight: float | torch.Tensor | None = None, reduction: Literal["mean", "sum"] = "mean") -> None:
        """Hands in the loss of the current batch. The step's loss is the weighted mean over its batches, or their sum.

        Args:
            loss: scalar; the mean over what counts in the batch, or its sum.
            weight: over how much the mean goes, such as the tokens that are no padding: at least 0; 0 if nothing in the batch counts, whatever the loss is
                then. Default: the batch's samples.
            reduction: "sum" for a loss that is a sum over the batch: then the step's gradient is that of the sum over the whole step.
        Raises:
            MisusedRun: without a current batch, with a loss that is no scalar, or with a weight that is none.
            NotFinite: for a loss that is NaN or infinite.
            BrokenPromise: naming what changed where it must not.
            NondeterministicOperation: naming the operation.
            UnsupportedModel: naming a tensor that cannot be trained.
        """
        batch, lease = self._batch, self._lease
        if batch is None or lease is None:
            raise MisusedRun("run.step was called without a batch of its own; call it once for every batch that run.batches() gives")
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise MisusedRun(f"run.step wants the loss of the batch, a scalar tensor; got {what}. Use reduction='mean' in the loss, or run.step(loss, reduction='sum')")
        scale, summed = self._scale(batch, weight, reduction)
        value = float(loss.detach().double())
        if scale and not math.isfinite(value):
            raise NotFinite(
                f"the loss of shard {batch.shard} of step {batch.step} is {value}; the run holds {self.steps} whole steps. Lower the learning rate, bound the gradient "
                "(pangea.join(clip_norm=...)), or look at the batch (batch.sample_ids)"
            )
        if weight is None and not summed and self._rehearsing.in_first_steps and (hint := hint_about(loss)):
            self._notices.add(hint)
        if self._rehearsing.take(loss, lambda: self._contribution(loss, batch, lease, 1.0 if summed else scale)):
            self._batch = None
            return
        flat = self._contribution(loss, batch, lease, 1.0 if summed else scale)
        self._rehearsing.result(batch, loss, flat)
        lease.record(ShardReport(batch.shard, batch.samples, value if summed else value * scale if scale else 0.0, batch.hash, scale, summed, self._stop), flat)
        self._batch, self._stop = None, ""

    def _contribution(self, loss: torch.Tensor, batch: Batch, lease: Lease, factor: float) -> torch.Tensor:
        try:
            return self._worker.parameters.gradient_sum(loss.reshape(()), batch.samples, lease.vectors.take(), factor)
        except RuntimeError as error:
            if is_nondeterministic(error):
                raise refusal(error) from error
            if "backward through the graph a second time" in str(error):
                raise MisusedRun("the script called loss.backward() before run.step(loss), which does it: delete the call") from error
            raise

    def _scale(self, batch: Batch, weight: float | torch.Tensor | None, reduction: str) -> tuple[float, bool]:
        """What the loss is multiplied with in a mean, and whether it is a sum."""
        if reduction not in ("mean", "sum"):
            raise MisusedRun(f"reduction is {reduction!r}; it is 'mean' or 'sum'")
        summed = reduction == "sum"
        if self._summed is None:
            self._summed = summed
        if self._summed is not summed:
            raise MisusedRun("run.step was called with reduction='mean' and with reduction='sum' in one run; use the same one for every batch")
        if summed and weight is not None:
            raise MisusedRun("run.step was given both a weight and reduction='sum': a sum has no weight")
        scale = float(batch.samples if weight is None else weight)
        if not math.isfinite(scale) or scale < 0:
            raise MisusedRun(f"the weight of shard {batch.shard} of step {batch.step} is {scale}; it must be a finite number of at least 0")
        return scale, summed

    def stop(self, reason: str) -> None:
        """Ends the run for all workers after the step of the current batch; its weights are the final ones.

        With any number of workers it is the same step, if `reason` follows from a batch or its loss: all shards of a step are computed before it ends.
        To be called in the loop over `batches`, before `step`; called after it, it counts for the next batch. Go on with the loop: it ends by itself.

        Args:
            reason: for people; in the ledger.
        """
        self._stop = reason.encode()[:MAX_STOP_BYTES].decode(errors="ignore") or "the script asked for it"

    def before_step(self, function: StepFunction) -> StepFunction:
        """Has a function called on each worker before each step of the optimizer, when the parameters' `grad` is that of the whole step.

        It may change gradients and the optimizer's settings. Random numbers in it are the same on all workers. Usable as a decorator.

        Args:
            function: is given a `pangea.Step`.
        """
        self._training.before.append(function)
        return function

    def after_step(self, function: StepFunction, *, state: Mapping[str, HasState] | None = None) -> StepFunction:
        """Has a function called on each worker after each step, on the same parameters: clipping of weights, averages, logging.

        It may change parameters and buffers. Random numbers in it are the same on all workers. To be called before the loop over `batches`, since a
        checkpoint is loaded there.

        Args:
            function: is given a `pangea.Step`.
            state: objects with `state_dict` and `load_state_dict` that the function changes, by a name of yours: they go into checkpoints, and to workers that
                join late.
        """
        for name, kept in (state or {}).items():
            if name in self._training.state:
                raise MisusedRun(f"two functions of run.after_step have a state called {name!r}; give each a name of its own")
            self._training.state[name] = kept
        self._training.after.append(function)
        return function

    def held_out(self) -> Iterator[Batch]:
        """The samples kept aside for evaluation, in dataset order. The random numbers of training are the same whether they are looked at or not."""
        facts = self._worker.dataset
        return held_out(self._rehearsing.data(self._worker.data), facts.held_out_samples, self._worker.reply.batch_size)

    def finish(self, **results: Any) -> None:
        """Writes `final.safetensors` (names as in `state_dict`) and `result.json` into the run directory, if the run has ended.

        Every worker holds the same parameters and writes the same bytes, so it does not matter who writes last. After a loop that was left before its end,
        this ends the run for all workers, after the last whole step.

        Args:
            **results: figures for result.json, such as held_out_accuracy: numbers, tensors, text, and lists and dicts of them.
        """
        self._rehearsing.fail_child("the script left the loop")
        if not self._finished and not self._sigterm.asked:
            self._end_here()
        if self._finished:
            self._write(results)
        self.close()

    def _end_here(self) -> None:
        """Ends the run for all workers after the last whole step, and brings this worker there."""
        self._held = None
        reason = f"the script of {self._worker.name} left its loop over run.batches() in step {self._worker.step}"
        try:
            if self._worker.next_lease(lambda: self._sigterm.asked, reason) is not None:
                raise MisusedRun("the orchestrator goes on with the run that the script has left; use the same release of both")
        except Stopped:
            self._worker.leave("stopped by a signal")
        self._ended()
        if self._finished and self._worker.step == 0:
            self._notices.add("the run ended before its first step: final.safetensors holds untrained weights")

    def _write(self, results: dict[str, Any]) -> None:
        ended = self._worker.ended
        if self.run_dir is not None and ended is not None:
            write_results(self.run_dir, self._worker.parameters, self._worker.step, results, incidents=ended.incidents, stopped=ended.stopped)

    def close(self) -> None:
        """Ends this process's part in the run, and the services that were started for it."""
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

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: types.TracebackType | None) -> None:
        explain(error)
        if error is None:
            self.close()
        else:
            # The hook that reports the error must still be there when the script ends with it.
            self._tell(error)
            self._close_connections()
