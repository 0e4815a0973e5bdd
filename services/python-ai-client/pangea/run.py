"""The training API: three lines turn a script into a worker.

run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
"""

from __future__ import annotations

import os
import socket
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import torch

from pangea.batches import Batch
from pangea.determinism import ExplainsUncaught, configure_torch, explain, is_nondeterministic, refusal, seed_shard
from pangea.embedded import EmbeddedServices
from pangea.gradients import Parameters
from pangea.health import HealthServer, serve_health
from pangea.lease import Lease, ShardReport
from pangea.results import write_results
from pangea.sigterm import Sigterm, Stopped
from pangea.training import Training
from pangea.worker import Addresses, Worker


class MisusedRun(RuntimeError):
    """The training loop did not call `run.step` exactly once for a batch."""


class Run:
    """This process's part in a run. Made by `join`."""

    def __init__(self, worker: Worker, run_dir: Path | None, embedded: EmbeddedServices | None, health: HealthServer | None, sigterm: Sigterm) -> None:
        self._worker, self._embedded, self._health, self._sigterm = worker, embedded, health, sigterm
        sigterm.raises = lambda: worker.waiting
        self._batch: Batch | None = None
        self._lease: Lease | None = None
        self._finished = False
        self._explains = ExplainsUncaught()
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
    def finished(self) -> bool:
        """Whether the run has ended with all its steps; false after this worker was asked to stop."""
        return self._finished

    def batches(self) -> Iterator[Batch]:
        """Yields the batches that this worker computes, until the run ends. Each is one shard of a step.

        Call `step` once for each. The model's parameters change between two batches, when the step of all workers is complete.

        Raises:
            MisusedRun: if `step` was not called for the last batch.
            pangea.WireError: a service was lost and did not come back within PANGEA_RECONNECT_SECONDS (default 600).
            pangea.PeerError: the run cannot go on with this worker; the message says why.
        """
        try:
            while (lease := self._worker.next_lease(lambda: self._sigterm.asked)) is not None:
                yield from self._compute(lease)
                if self._sigterm.asked:
                    self._worker.leave("stopped by SIGTERM")
                    return
                self._worker.submit(lease)
            self._finished = not self._sigterm.asked
        except Stopped:
            self._worker.leave("stopped by SIGTERM")
        finally:
            self._sigterm.restore()

    def _compute(self, lease: Lease) -> Iterator[Batch]:
        """Yields the lease's batches and checks that each comes back through `step`."""
        worker = self._worker
        self._lease = lease
        batches = iter(worker.source.training(lease.epoch, lease.epoch_step, lease.step, lease.shards))
        while not self._sigterm.asked:
            started = time.perf_counter()
            with worker.interruptible():
                batch = next(batches, None)
            worker.seconds.data += time.perf_counter() - started
            if batch is None:
                return
            if batch.samples == 0:
                lease.record(ShardReport(batch.shard, 0, 0.0, batch.hash, 0.0), lease.vectors.take().zero_())
                continue
            worker.parameters.begin_shard()
            seed_shard(worker.reply.seed, lease.step, batch.shard)
            self._batch = batch
            started = time.perf_counter()
            yield batch
            worker.seconds.compute += time.perf_counter() - started
            if self._batch is not None:
                raise MisusedRun(f"run.step was not called for shard {batch.shard} of step {batch.step}; call it once for every batch")

    def step(self, loss: torch.Tensor) -> None:
        """Hands in the loss of the current batch.

        Args:
            loss: scalar; the mean over the batch's samples.
        Raises:
            MisusedRun: without a current batch, or with a loss that is no scalar.
            NondeterministicOperation: naming the operation.
            UnsupportedModel: naming a tensor that changed where it must not.
        """
        batch, lease = self._batch, self._lease
        if batch is None or lease is None:
            raise MisusedRun("run.step was called without a batch of its own; call it once for every batch that run.batches() gives")
        if loss.numel() != 1:
            raise MisusedRun(f"run.step wants the mean loss of the batch, a scalar; got shape {tuple(loss.shape)}. Use reduction='mean'")
        try:
            flat = self._worker.parameters.gradient_sum(loss.reshape(()), batch.samples, lease.vectors.take())
        except RuntimeError as error:
            if is_nondeterministic(error):
                raise refusal(error) from error
            raise
        lease.record(ShardReport(batch.shard, batch.samples, float(loss.detach().double()) * batch.samples, batch.hash, float(batch.samples)), flat)
        self._batch = None

    def held_out(self) -> Iterator[Batch]:
        """The samples kept aside for evaluation, in dataset order."""
        return iter(self._worker.source.held_out(self._worker.dataset.held_out_samples))

    def finish(self, **results: float) -> None:
        """Writes `final.safetensors` (names as in `state_dict`) and `result.json` into the run directory, if the run has ended.

        Every worker holds the same parameters and writes the same bytes, so it does not matter who writes last.

        Args:
            **results: figures for result.json, such as held_out_accuracy.
        """
        if self._finished and self.run_dir is not None:
            write_results(self.run_dir, self._worker.parameters, self._worker.step, results)
        self.close()

    def close(self) -> None:
        """Ends this process's part in the run, and the services that were started for it."""
        if self._health is not None:
            self._health.worker = None
        self._worker.close()
        self._sigterm.restore()
        self._explains.remove()
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: types.TracebackType | None) -> None:
        explain(error)
        self.close()


def join(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    clip_norm: float | None = None,
    epochs: int = 1,
    batch_size: int = 64,
    shards: int = 8,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    timeout: float = 30.0,
) -> Run:
    """Joins the run that PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port) name, or starts one of its own with services as children.

    A step's batch is cut into `shards` micro-batches, whose gradients are added up before the optimizer makes its step: that is gradient accumulation, over
    several workers or in one. For more of it, raise `shards` and `batch_size` together; the memory that activations take is that of batch_size / shards samples.

    Buffers that a forward pass changes (BatchNorm) move once a step, by the mean change over its samples: see `pangea.buffers`.

    Args:
        model: on the CPU; the same on every worker (call `pangea.seed_everything` before it is built).
        optimizer: any torch optimizer over the model's trainable parameters but LBFGS and SparseAdam. Its `step` is called by the run.
        scheduler: of the optimizer's rates; stepped after every step of the run, not once an epoch. ReduceLROnPlateau is given the step's mean loss.
        clip_norm: bound of the global norm of a step's gradient.
        epochs, batch_size, shards, seed: of a run of its own; a run that is joined has its own.
        run_dir: of a run of its own; default `pangea-runs/TIME-SEED`.
        timeout: seconds to reach the services.
    Raises:
        UnsupportedModel, UnsupportedOptimizer: naming what cannot be trained, with what to do.
        BadSnapshot: naming what of the state cannot be handed to another worker.
        pangea.WireError: no service at the address.
        pangea.PeerError: the orchestrator does not take this worker; the message says why.
        SystemExit: with code 0, if SIGTERM came meanwhile.
    """
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS", "1")))
    training = Training(Parameters(model), optimizer, scheduler, clip_norm)
    orchestrator, data = os.environ.get("PANGEA_ORCHESTRATOR"), os.environ.get("PANGEA_DATA")
    if bool(orchestrator) != bool(data):
        raise ValueError("set both PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or none of them for a run of its own")
    embedded: EmbeddedServices | None = None
    directory: Path | None = None
    if not orchestrator or not data:
        embedded = EmbeddedServices.start(run_dir=run_dir, epochs=epochs, batch_size=batch_size, shards=shards, seed=seed, keep_alive=True)
        orchestrator, data, directory = embedded.orchestrator, embedded.data, embedded.run_dir
    else:
        named = os.environ.get("PANGEA_RUN_DIR")
        directory = Path(named) if named else None
    # Nothing is computed yet: whoever asks for the end may have it at once, but one that has joined leaves in order.
    sigterm = Sigterm(lambda: True)
    try:
        health = serve_health()
        name = os.environ.get("PANGEA_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        reconnect = float(os.environ.get("PANGEA_RECONNECT_SECONDS", "600"))
        worker = Worker(training, Addresses(orchestrator, data, timeout, reconnect), name)
    except BaseException as error:
        sigterm.restore()
        if embedded is not None:
            embedded.stop()
        if isinstance(error, Stopped):
            sys.exit(0)
        raise
    if health is not None:
        health.worker = worker
    return Run(worker, directory, embedded, health, sigterm)
