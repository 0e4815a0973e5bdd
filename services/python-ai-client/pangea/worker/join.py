"""`pangea.join`: the first of the three lines that turn a script into a worker."""

from __future__ import annotations

import logging
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
from pangea.services.announced import resolve
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from pangea.torch_version import untried_version
from pangea.training.determinism import UncaughtErrorHook, allows_nondeterminism, configure_torch, seed_shard
from pangea.training.gradients import Parameters
from pangea.training.optimizer import Training
from pangea.worker.batches import Batch, first_batch
from pangea.worker.leaving import leave_quickly
from pangea.worker.membership import Addresses
from pangea.worker.probes import serve_health
from pangea.worker.rehearser import Rehearser, fraction
from pangea.worker.run import Run
from pangea.worker.sigterm import Sigterm, Stopped
from pangea.worker.worker import Worker

_log = logging.getLogger("pangea")

_AVERAGED_NOTICE = (
    "a step changes these buffers by the mean of the changes of its shards: {}. A buffer that counts or accumulates"
    " needs pangea.join(buffers={{name: 'sum'}}); compute a moving average of sums in run.after_step"
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
    """Joins the run at PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or starts a local run with its own services.

    The batch of a step is split into `shards` micro-batches, whose gradients are added up before the optimizer's step:
    gradient accumulation, over one or several workers. To accumulate more, raise `shards` and `batch_size` together;
    activations need the memory of batch_size / shards samples.

    Buffers that a forward pass changes (BatchNorm) are updated once a step, by the mean change over its samples: see
    `pangea.training.buffers`.

    Args:
        model: on the CPU; identical on every worker (call `pangea.seed_everything` before it is built).
        optimizer: any torch optimizer over the model's trainable parameters, except LBFGS and SparseAdam. The run calls
            its `step`.
        scheduler: of the optimizer's learning rates; stepped after every step of the run, not once an epoch.
            ReduceLROnPlateau gets the step's mean loss.
        clip_norm: maximum global norm of a step's gradient.
        rate: the learning rate of all groups as a function of the step's number, from 0; instead of a scheduler.
        init: called once with the first training samples in a fixed order (at most 64) before the worker joins, for
            data-dependent initialisation.
        buffers: "sum" by the name of a buffer that counts or accumulates; other buffers change by the mean.
        epochs, batch_size, shards, seed: options of a local run; ignored when an existing run is joined.
        run_dir: of a local run; default: `pangea-runs/TIME-SEED`.
        timeout: seconds to reach the services.
    Raises:
        UnsupportedModel, UnsupportedOptimizer: naming what cannot be trained, and what to do.
        BadSnapshot: naming the part of the state that cannot be sent to another worker.
        pangea.WireError: there is no service at the address.
        pangea.PeerError: the orchestrator refuses this worker; the message says why.
        SystemExit: with code 0, if SIGTERM arrives before the worker has joined.
    """
    uncaught = UncaughtErrorHook()
    level = ensure_pinned()
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS", "1")))
    existing = _existing_run()
    share = fraction()
    # An unsupported model is refused before any service is started; with `init`, which may change the model, it is
    # checked afterwards.
    training = Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate) if init is None else None
    embedded: EmbeddedServices | None = None
    directory: Path | None
    if existing is None:
        embedded = EmbeddedServices.start(
            RunOptions(epochs=epochs, batch_size=batch_size, shards=shards, seed=seed), run_dir=run_dir, keep_alive=True
        )
        orchestrator, data, directory = embedded.orchestrator, embedded.data, embedded.run_dir
    else:
        orchestrator, data, directory = existing
        # The launcher waits for this process, which does nothing but this run.
        leave_quickly()
    # Until it has joined, nothing is lost if the worker stops immediately; afterwards it leaves the run in order.
    sigterm = Sigterm(lambda: True)
    try:
        health = serve_health()
        name = os.environ.get("PANGEA_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        notices = Notices(directory, name)
        addresses = Addresses(orchestrator, data, timeout, float(os.environ.get("PANGEA_RECONNECT_SECONDS", "600")))
        client = _native.DataClient(addresses.data, addresses.timeout, reconnect_seconds=addresses.reconnect)
        _log_remote_replicas(addresses.data, client)
        if init is not None:
            _initialise(model, init, first_batch(client, client.dataset().train_samples))
        training = training or Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate)
        if allows_nondeterminism():
            training.parameters.on_broken_promise = lambda text: notices.add(calling_line() + text)
        worker = Worker(
            training, client, addresses, name, level, take_changes=os.environ.get("PANGEA_TAKE_CHANGES") == "1"
        )
    except BaseException as error:
        sigterm.restore()
        if embedded is not None:
            embedded.stop()
        if isinstance(error, Stopped):
            sys.exit(0)
        raise
    if (untried := untried_version(torch.__version__)) is not None:
        notices.add(untried)
    if training.parameters.buffers.averaged:
        notices.add(_AVERAGED_NOTICE.format(", ".join(training.parameters.buffers.averaged)))
    training.guard()
    if health is not None:
        health.worker = worker
    rehearser = Rehearser(training.parameters, worker.settings.seed, share, (addresses.data, addresses.timeout))
    return Run(worker, directory, embedded, health, sigterm, notices, rehearser, uncaught)


def _existing_run() -> tuple[str, str, Path | None] | None:
    """Returns the addresses of orchestrator and data service and the run directory, if the environment names a run.

    Raises:
        ValueError: it has only one of the addresses.
    """
    orchestrator, data = os.environ.get("PANGEA_ORCHESTRATOR"), os.environ.get("PANGEA_DATA")
    if bool(orchestrator) != bool(data):
        raise ValueError("set both PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or neither of them for a local run")
    if not orchestrator or not data:
        return None
    directory = Path(os.environ["PANGEA_RUN_DIR"]) if os.environ.get("PANGEA_RUN_DIR") else None
    return resolve(orchestrator, directory), resolve(data, directory), directory


def _log_remote_replicas(configured: str, client: _native.DataClient) -> None:
    """Logs the replicas that were to be read from shared memory, and are read over TCP."""
    local = [ways.partition("|")[0] for ways in configured.split(",") if ways.startswith("unix:")]
    used = [address for address, connected in client.replicas() if connected]
    if local and (remote := [address for address in used if not address.startswith("unix:")]):
        _log.warning(
            "batches come over TCP from %s, not through shared memory: nothing answers at %s",
            ", ".join(remote),
            ", ".join(local),
        )


def _initialise(model: torch.nn.Module, init: Callable[[Batch], Any], batch: Batch) -> None:
    """Lets the script initialise its model with a batch; random numbers drawn in `init` are the same on all workers."""
    seed_shard(0, 0, 0)
    init(batch)
    for parameter in model.parameters():
        parameter.grad = None
