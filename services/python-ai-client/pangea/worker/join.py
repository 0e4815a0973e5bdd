"""`pangea.join`: the first of the three lines that turn a script into a worker."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pangea import _native
from pangea.arithmetic import ensure_pinned
from pangea.errors import calling_line
from pangea.rundir.notices import Notices
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from pangea.training.determinism import TellsUncaught, allows_nondeterminism, configure_torch, seed_shard
from pangea.training.gradients import Parameters
from pangea.training.optimizer import Training
from pangea.worker.batches import Batch, first_batch
from pangea.worker.probes import serve_health
from pangea.worker.rehearsing import Rehearsing, fraction
from pangea.worker.run import Run
from pangea.worker.sigterm import Sigterm, Stopped
from pangea.worker.worker import Addresses, Worker

_AVERAGED = (
    "a step moves these buffers by the mean of what its shards would have changed: {}. One that counts or adds up needs pangea.join(buffers={{name: 'sum'}}); a moving average of "
    "sums belongs into run.after_step"
)


def join(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    clip_norm: float | None = None,
    rate: Callable[[int], float] | None = None,
    init: Callable[[Batch], Any] | None = None,
    buffers: Mapping[str, str] | None = None,
    epochs: int = RunOptions.epochs,
    batch_size: int = RunOptions.batch_size,
    shards: int = RunOptions.shards,
    seed: int = RunOptions.seed,
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
        rate: the learning rate of all groups as a function of the step's number, from 0; instead of a scheduler.
        init: called once with the first training samples of a fixed order (at most 64) before the worker joins, for initialisation that depends on data.
        buffers: "sum" by the name of a buffer that counts or adds up; others move by the mean.
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
    uncaught = TellsUncaught()
    level = ensure_pinned()
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS", "1")))
    orchestrator, data = os.environ.get("PANGEA_ORCHESTRATOR"), os.environ.get("PANGEA_DATA")
    if bool(orchestrator) != bool(data):
        raise ValueError("set both PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or none of them for a run of its own")
    embedded: EmbeddedServices | None = None
    directory: Path | None = None
    share = fraction()
    # What cannot be trained is refused before anything is started; what `init` changes is looked at after it.
    training = Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate) if init is None else None
    if not orchestrator or not data:
        embedded = EmbeddedServices.start(RunOptions(epochs=epochs, batch_size=batch_size, shards=shards, seed=seed), run_dir=run_dir, keep_alive=True)
        orchestrator, data, directory = embedded.orchestrator, embedded.data, embedded.run_dir
    else:
        named = os.environ.get("PANGEA_RUN_DIR")
        directory = Path(named) if named else None
    # Nothing is computed yet: whoever asks for the end may have it at once, but one that has joined leaves in order.
    sigterm = Sigterm(lambda: True)
    try:
        health = serve_health()
        name = os.environ.get("PANGEA_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        notices = Notices(directory, name)
        addresses = Addresses(orchestrator, data, timeout, float(os.environ.get("PANGEA_RECONNECT_SECONDS", "600")))
        client = _native.DataClient(addresses.data, addresses.timeout, reconnect_seconds=addresses.reconnect)
        if init is not None:
            _initialise(model, init, first_batch(client, client.dataset().train_samples))
        training = training or Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate)
        if allows_nondeterminism():
            training.parameters.tolerate = lambda text: notices.add(calling_line() + text)
        worker = Worker(training, client, addresses, name, level, take_changes=os.environ.get("PANGEA_TAKE_CHANGES") == "1")
    except BaseException as error:
        sigterm.restore()
        if embedded is not None:
            embedded.stop()
        if isinstance(error, Stopped):
            sys.exit(0)
        raise
    if training.parameters.buffers.averaged:
        notices.add(_AVERAGED.format(", ".join(training.parameters.buffers.averaged)))
    training.guard()
    if health is not None:
        health.worker = worker
    rehearsing = Rehearsing(training.parameters, worker.reply.seed, share, (addresses.data, addresses.timeout))
    return Run(worker, directory, embedded, health, sigterm, notices, rehearsing, uncaught)


def _initialise(model: torch.nn.Module, init: Callable[[Batch], Any], batch: Batch) -> None:
    """Has the script initialise its model with a batch; random numbers in it are the same on all workers."""
    seed_shard(0, 0, 0)
    init(batch)
    for parameter in model.parameters():
        parameter.grad = None
