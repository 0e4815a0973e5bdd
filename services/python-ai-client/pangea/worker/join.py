"""`pangea.join`: the first of the three lines that turn a script into a worker."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from pangea import _native
from pangea.arithmetic import ensure_pinned
from pangea.datasets import VARIABLE as DATASET_VARIABLE
from pangea.errors import MisusedRun, calling_line
from pangea.loading.fetch import Collate, Source
from pangea.loading.identity import own_source
from pangea.loading.loader import Loader
from pangea.loading.options import LoaderOptions
from pangea.rundir.notices import Notices
from pangea.services.announced import resolve, want
from pangea.services.embedded import EmbeddedServices
from pangea.services.options import RunOptions
from pangea.services.programs import IDENTITY
from pangea.torch_version import untried_version
from pangea.training.determinism import UncaughtErrorHook, allows_nondeterminism, configure_torch, seed_shard
from pangea.training.devices.choose import device_of
from pangea.training.gradients import Parameters
from pangea.training.optimizer import Training
from pangea.training.schedule import MakeScheduler, doubt
from pangea.training.supported import hooked
from pangea.worker.batches import Batch
from pangea.worker.data_source import DataSource, OwnData, ServiceData
from pangea.worker.leaving import leave_quickly
from pangea.worker.membership import Addresses
from pangea.worker.placement import placed
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

_HOOK_NOTICE = (
    "hooks on the gradients of {} see the gradient of one shard, times its weight (the samples); what acts on the"
    " gradient of a step, such as clipping, belongs into run.before_step(fn)"
)
_MAX_NAMED = 4


def join(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    *,
    scheduler: LRScheduler | MakeScheduler | Sequence[LRScheduler | MakeScheduler | None] | None = None,
    clip_norm: float | None = None,
    rate: Callable[[int], float] | None = None,
    init: Callable[[Batch], Any] | None = None,
    buffers: Mapping[str, str] | None = None,
    dataset: Any = None,
    held_out: Any = None,
    collate_fn: Collate | None = None,
    loader_processes: int = LoaderOptions.processes,
    prefetch_factor: int = LoaderOptions.prefetch_factor,
    worker_init_fn: Callable[[int], None] | None = None,
    pin_memory: bool = LoaderOptions.pin_memory,
    multiprocessing_context: Any = None,
    epochs: int = RunOptions.epochs,
    batch_size: int = RunOptions.batch_size,
    shards: int = RunOptions.shards,
    seed: int = RunOptions.seed,
    run_dir: str | os.PathLike[str] | None = None,
    timeout: float = 30.0,
) -> Run:
    """Joins the run at PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or starts a local run with its own services.

    The data is that of the data service, or the script's own: `dataset`.

    The batch of a step is split into `shards` micro-batches, whose gradients are added up before the optimizer's step:
    gradient accumulation, over one or several workers. To accumulate more, raise `shards` and `batch_size` together;
    activations need the memory of batch_size / shards samples.

    Buffers that a forward pass changes (BatchNorm) are updated once a step, by the mean change over its samples: see
    `pangea.training.buffers`.

    Args:
        model: on one device; identical on every worker (call `pangea.seed_everything` before it is built).
        optimizer: any torch optimizer over the model's trainable parameters, except LBFGS and SparseAdam. The run calls
            its `step`. A list for several, each over its own parameters: see `Run.step`.
        scheduler: of the optimizer's learning rates; stepped after every step of the run, not once an epoch.
            ReduceLROnPlateau gets the step's mean loss. For several optimizers, a list. A schedule that needs the
            number of steps is given as a function of the optimizer and `run.dataset`, which is called at the join:
            `lambda optimizer, data: OneCycleLR(optimizer, 0.1, total_steps=data.steps)`.
        clip_norm: maximum global norm of a step's gradient; of several optimizers, of the gradient of each.
        rate: the learning rate of all groups as a function of the step's number, from 0; instead of a scheduler.
        init: called once with the first training samples in a fixed order (at most 64) before the worker joins, for
            data-dependent initialisation.
        buffers: "sum" by the name of a buffer that counts or accumulates; other buffers change by the mean.
        dataset: the script's own training data: a map-style dataset, as torch's DataLoader takes it, with a length and
            samples by index. Default: the data service at PANGEA_DATA.
        held_out: the samples of `run.held_out`, as another such dataset; default: none.
        collate_fn: makes a batch (`batch.data`) of a list of samples; default: torch's `default_collate`.
        loader_processes: processes of each worker that load batches ahead; with 0, the script's own process loads each
            batch when it is due. The bits are the same. Also the next four options mean what they mean in a DataLoader:
        prefetch_factor: batches that each loader process loads ahead.
        worker_init_fn: called in each loader process with its number, before it loads.
        pin_memory: copies batches to pinned memory, where there is a GPU.
        multiprocessing_context: how loader processes start; default: "fork", which needs no main guard in the script.
        epochs, batch_size, shards, seed: options of a local run; ignored when an existing run is joined.
        run_dir: of a local run; default: `pangea-runs/TIME-SEED`.
        timeout: seconds to reach the services.
    Raises:
        UnsupportedModel, UnsupportedOptimizer: naming what cannot be trained, and what to do.
        BadSnapshot: naming the part of the state that cannot be sent to another worker.
        MisusedRun: the dataset cannot be used in a run; the message says what to give instead.
        LoadingFailed, UnhashableBatch: a sample of the dataset cannot be loaded, or has no canonical bytes.
        pangea.WireError: there is no service at the address.
        pangea.PeerError: the orchestrator refuses this worker; the message says why.
        SystemExit: with code 0, if SIGTERM arrives before the worker has joined.
    """
    uncaught = UncaughtErrorHook()
    level = ensure_pinned()
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS") or 1))
    source = _own_source(dataset, held_out, collate_fn, loader_processes)
    options = LoaderOptions(loader_processes, prefetch_factor, worker_init_fn, pin_memory, multiprocessing_context)
    existing = _existing_run(needs_data=source is None)
    share = fraction()
    # An unsupported model is refused before any service is started; with `init`, which may change the model, it is
    # checked afterwards.
    training = Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate) if init is None else None
    # Loader processes are forked before this process has threads and connections.
    data: DataSource | None = OwnData(Loader(source, options)) if source is not None else None
    embedded: EmbeddedServices | None = None
    directory: Path | None
    if existing is None:
        try:
            embedded = EmbeddedServices.start(
                RunOptions(epochs=epochs, batch_size=batch_size, shards=shards, seed=seed),
                run_dir=run_dir,
                data_replicas=1 if data is None else 0,
                keep_alive=True,
            )
        except BaseException:
            if data is not None:
                data.close()
            raise
        orchestrator, data_addresses, directory = embedded.orchestrator, embedded.data, embedded.run_dir
    else:
        orchestrator, data_addresses, directory = existing
        # The launcher waits for this process, which does nothing but this run.
        leave_quickly()
    # Until it has joined, nothing is lost if the worker stops immediately; afterwards it leaves the run in order.
    sigterm = Sigterm(lambda: True)
    try:
        health = serve_health()
        name = os.environ.get("PANGEA_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        notices = Notices(directory, name)
        reconnect_seconds = float(os.environ.get("PANGEA_RECONNECT_SECONDS") or 600)
        # Services that this process has started are on this machine, and have no identity.
        identity = None if embedded is not None else os.environ.get(IDENTITY) or None
        addresses = Addresses(orchestrator, data_addresses, timeout, reconnect_seconds, identity)
        data = data or _service_data(addresses)
        if init is not None:
            _initialise(model, init, data.first_batch())
        training = training or Training(Parameters(model, buffers), optimizer, scheduler, clip_norm, rate)
        if allows_nondeterminism():
            training.parameters.on_broken_promise = lambda text: notices.add(calling_line() + text)
        worker = Worker(
            training, data, addresses, name, level, take_changes=os.environ.get("PANGEA_TAKE_CHANGES") == "1"
        )
        training.make_schedulers(worker.dataset)
    except BaseException as error:
        sigterm.restore()
        if data is not None:
            data.close()
        if embedded is not None:
            embedded.stop()
        if isinstance(error, Stopped):
            sys.exit(0)
        raise
    if (untried := untried_version(torch.__version__)) is not None:
        notices.add(untried)
    if training.parameters.buffers.averaged:
        notices.add(_AVERAGED_NOTICE.format(", ".join(training.parameters.buffers.averaged)))
    for scheduler in training.schedulers:
        if scheduler is not None and (odd := doubt(scheduler, worker.dataset)) is not None:
            notices.add(odd)
    if names := hooked(model):
        notices.add(_HOOK_NOTICE.format(", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")))
    training.guard()
    if health is not None:
        health.worker = worker
    rehearser = Rehearser(training.parameters, worker.settings.seed, share)
    return Run(worker, directory, embedded, health, sigterm, notices, rehearser, uncaught)


def _own_source(dataset: Any, held_out: Any, collate_fn: Collate | None, loader_processes: int) -> Source | None:
    """Returns the script's own data; None if it has given none.

    Raises:
        MisusedRun: it is not a dataset that a run can use, or the arguments do not fit together.
    """
    if dataset is not None:
        if spec := os.environ.get(DATASET_VARIABLE):
            raise MisusedRun(
                f"the run was started with --dataset {spec}, but the script gives pangea.join a dataset of its own, so"
                " nobody would read the first; leave out one of them"
            )
        return own_source(dataset, held_out, collate_fn)
    if held_out is not None or collate_fn is not None or loader_processes:
        raise MisusedRun(
            "pangea.join was given held_out, collate_fn or loader_processes without dataset; give it the training"
            " samples too, or leave these out to train on the data of a data service"
        )
    return None


def _existing_run(*, needs_data: bool) -> tuple[str, str, Path | None] | None:
    """Returns the addresses of orchestrator and data service and the run directory, if the environment names a run.

    Args:
        needs_data: whether the run has a data service; its address is empty if not.
    Raises:
        ValueError: the environment has only one of the addresses.
    """
    orchestrator, data = os.environ.get("PANGEA_ORCHESTRATOR"), os.environ.get("PANGEA_DATA")
    if needs_data and bool(orchestrator) != bool(data):
        raise ValueError(
            "set both PANGEA_ORCHESTRATOR and PANGEA_DATA (host:port), or neither of them for a local run; a script"
            " that gives pangea.join a dataset needs only PANGEA_ORCHESTRATOR. If `pangea launch` started no data"
            " service, because the script seemed to have a dataset of its own, give it --data-replicas 1"
        )
    if not orchestrator:
        return None
    directory = Path(os.environ["PANGEA_RUN_DIR"]) if os.environ.get("PANGEA_RUN_DIR") else None
    if not needs_data or not data:
        return resolve(orchestrator, directory), "", directory
    want(data, directory)
    return resolve(orchestrator, directory), resolve(data, directory), directory


def _service_data(addresses: Addresses) -> ServiceData:
    client = addresses.data_client()
    _log_remote_replicas(addresses.data, client)
    return ServiceData(client, addresses.data_client)


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
    init(placed(batch, device_of(model.parameters())))
    for parameter in model.parameters():
        parameter.grad = None
