"""The main function of a loader process: receives requests, loads them, and sends the batches back."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from torch.utils.data._utils import worker as torch_worker

from pangea.loading.fetch import Collate, Failure, Loaded, Source
from pangea.loading.options import LoaderOptions
from pangea.loading.requests import Plan, Request
from pangea.loading.seeding import worker_seed
from pangea.loading.transfer import Packed
from pangea.training.determinism import configure_torch

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Assignment:
    """What a loader process is started with.

    Attributes:
        number: of the process, from 0.
        parent: the process ID of the script; None if a fork server is in between.
        source: the datasets.
        options: of loading.
    """

    number: int
    parent: int | None
    source: Source
    options: LoaderOptions


def _die_with(parent: int | None) -> None:
    """Lets the kernel kill this process when its parent dies: the script, or the fork server that ends with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _announce(assignment: Assignment) -> None:
    """Makes `torch.utils.data.get_worker_info()` answer as in a process of torch's DataLoader."""
    torch_worker._worker_info = torch_worker.WorkerInfo(  # type: ignore[no-untyped-call]
        id=assignment.number,
        num_workers=assignment.options.processes,
        seed=worker_seed(assignment.number),
        dataset=assignment.source.train,
    )


def _unannounced(collate: Collate) -> Collate:
    """Wraps a collate function, so that torch's does not put its batch into shared memory, which is copied anyway."""

    def call(items: list[Any]) -> Any:
        info, torch_worker._worker_info = torch_worker._worker_info, None
        try:
            return collate(items)
        finally:
            torch_worker._worker_info = info

    return call


def main(assignment: Assignment, connection: Connection) -> None:
    """Loads until the script's process closes the connection or dies."""
    _die_with(assignment.parent)
    # Ctrl-C and SIGHUP reach the whole group; the script's process decides what they mean.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # More threads would compete with the script's, and those of a forked process would hang.
    configure_torch(1)
    _announce(assignment)
    with suppress(EOFError, OSError):
        _serve(assignment, connection)


def _serve(assignment: Assignment, connection: Connection) -> None:
    source = replace(assignment.source, collate=_unannounced(assignment.source.collate))
    plan: Plan | None = None
    failure = _initialise(assignment)
    while True:
        message: Plan | Request = connection.recv()
        if isinstance(message, Plan):
            plan = message
            continue
        assert plan is not None, "a plan is sent before the first request"
        _packed(message, failure or _load(source, plan, message)).send(connection)


def _initialise(assignment: Assignment) -> Failure | None:
    """Calls the user's function; an error of it is the answer to every request."""
    try:
        if assignment.options.worker_init_fn is not None:
            assignment.options.worker_init_fn(assignment.number)
    except Exception as error:
        return Failure.of(error, f"worker_init_fn failed in loader process {assignment.number}")
    return None


def _load(source: Source, plan: Plan, request: Request) -> Loaded | Failure:
    try:
        return source.load(plan, request)
    except Exception as error:
        return Failure.of(error, "a batch could not be loaded")


def _packed(request: Request, result: Loaded | Failure) -> Packed:
    try:
        return Packed((request, result))
    except Exception as error:
        return Packed((request, Failure.of(error, "a batch could not be sent from its loader process")))
