"""Fixtures of the native extension's tests: a dataset, its batches, a run to join, and a signal that ends a call."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from peer import Peer, send_batch, send_dataset

from pangea import _native

HASH = bytes(range(32))


def pattern(size: int, seed: int) -> bytes:
    """Bytes that are 0 or 1 (right for any dtype), different for each seed."""
    return np.random.default_rng(seed).integers(0, 2, size, np.uint8).tobytes()


def batch_script(dtype: str, shape: tuple[int, ...]) -> Any:
    """Serves batches whose features are the pattern of their step."""
    size = math.prod(shape) * getattr(torch, dtype).itemsize

    def script(peer: Peer) -> None:
        send_dataset(peer, peer.receive())
        while True:
            request = peer.receive()
            step = request["batchRequest"]["step"]
            send_batch(peer, request, dtype, shape, pattern(size, step))

    return script


def arguments(step: int) -> tuple[Any, ...]:
    """The arguments of `batch` for one shard of a step."""
    return ("train", 7, 0, step, 64, 0, 8)


def dataset_info() -> _native.DatasetInfo:
    """The dataset that the peers of these tests describe."""
    return _native.DatasetInfo(
        name="digits",
        hash=HASH,
        train_samples=1438,
        held_out_samples=359,
        classes=10,
        features=("float32", (1, 8, 8)),
        labels=("int64", ()),
    )


def accept_join(peer: Peer) -> dict[str, Any]:
    """Accepts a worker into the run and returns its request."""
    request = peer.receive()
    assert request["type"] == "joinRequest" and request["joinRequest"]["processId"] == os.getpid()
    settings = {"seed": 5, "shards": 8, "batchSize": 64, "epochs": 2}
    peer.send("joinReply", request["requestId"], runId="r", workerId=1, settings=settings, totalSteps=46)
    return request["joinRequest"]


class Stop(Exception):
    """Raised by a signal handler."""


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """SIGALRM raises Stop."""

    def stop(_number: int, _frame: object) -> None:
        raise Stop

    previous = signal.signal(signal.SIGALRM, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def joined(address: str, parameters: list[tuple[str, str, tuple[int, ...]]]) -> _native.OrchestratorClient:
    """Returns a client that has joined a run."""
    client = _native.OrchestratorClient(address)
    reply = client.join("worker", "torch", parameters, HASH, 0, dataset_info())
    assert (reply.run_id, reply.worker_id, reply.seed, reply.shards, reply.total_steps) == ("r", 1, 5, 8, 46)
    return client
