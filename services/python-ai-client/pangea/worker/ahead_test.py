"""A worker that is alone computes ahead of the answer to its question, and scripts see the batches that count."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable
from typing import Any

import torch
from fixtures import batch_script
from peer import Peer, service

from pangea.rundir.notices import Notices
from pangea.training.determinism import UncaughtErrorHook
from pangea.training.gradients import Parameters
from pangea.training.optimizer import Training
from pangea.worker.data_source import ServiceData
from pangea.worker.membership import Addresses
from pangea.worker.rehearser import Rehearser
from pangea.worker.run import Run
from pangea.worker.sigterm import Sigterm
from pangea.worker.worker import Worker

SHARDS = 2
SPECS = (("weight", [1, 4]), ("bias", [1]), ("pangea.used", [2]))


class Orchestrator:
    """Leads one worker, message by message."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        join = peer.receive()
        settings = {"seed": 5, "shards": SHARDS, "batchSize": 64, "epochs": 2}
        peer.send("joinReply", join["requestId"], runId="r", workerId=1, settings=settings, totalSteps=46)

    def question(self, step: int) -> None:
        self._question = self._peer.receive()
        assert self._question["workRequest"]["step"] == step

    def answer(self, kind: str, **fields: Any) -> None:
        self._peer.send(kind, self._question["requestId"], **fields)

    def lease(self, step: int, shards: list[int]) -> None:
        self.answer("shardLease", step=step, epoch=0, epochStep=step, shards=shards)

    def update(self, step: int, shards: int) -> None:
        update = self._peer.receive()
        sent = update["gradientUpdate"]
        assert (sent["step"], sent["firstShard"], sent["shardCount"]) == (step, 0, shards)
        self.question(step)
        self._peer.send("gradientAck", update["requestId"], verdict="accepted", detail="")

    def aggregate(self, step: int) -> None:
        data = {name: struct.pack("<f", 1.0) * torch.Size(shape).numel() for name, shape in SPECS}
        gradients = [{"name": name, "dtype": "float32", "shape": shape, "data": data[name]} for name, shape in SPECS]
        digest = hashlib.sha256(b"".join(data.values())).digest()
        self.answer(
            "aggregate", step=step, samples=64, lossSum=1.0, divisor=64.0, gradients=gradients, final=True, hash=digest
        )

    def finish(self, steps: int) -> None:
        hash = self._question["workRequest"]["parametersHash"]
        self.answer("runFinished", steps=steps, parametersHash=hash)

    def snapshot_and_question(self, step: int) -> None:
        """A thread sends the state between the frames of the worker's other messages."""
        whole, question = False, None
        while not whole or question is None:
            message = self._peer.receive()
            if message["type"] == "snapshot":
                whole = whole or message["snapshot"].get("final", False)
            else:
                question = message
        assert question["workRequest"]["step"] == step
        self._question = question


def seen_by_script(lead: Callable[[Orchestrator, threading.Event], None]) -> list[tuple[int, int]]:
    """Returns (step, shard) of the batches that a script sees; `lead` gets an event that is set by the first of step 1.

    Its steps, from the second on, ask for the end of the run.
    """
    ahead = threading.Event()
    seen = []
    with (
        service(batch_script("float32", (8, 4))) as data,
        service(lambda peer: lead(Orchestrator(peer), ahead)) as orchestrator,
    ):
        model = torch.nn.Linear(4, 1)
        training = Training(Parameters(model), torch.optim.SGD(model.parameters(), lr=0.5))
        addresses = Addresses(orchestrator, data, 30.0, 30.0)
        worker = Worker(training, ServiceData(addresses.data_client(), addresses.data_client), addresses, "w")
        rehearser = Rehearser(training.parameters, 5, 0.0)
        hook = UncaughtErrorHook()
        with Run(worker, None, None, None, Sigterm(lambda: False), Notices(None, "w"), rehearser, hook) as run:
            for batch in run.batches():
                seen.append((batch.step, batch.shard))
                if batch.step == 1:
                    ahead.set()
                    run.stop("enough")
                run.step(model(batch.x).square().mean())
            assert run.finished
    return seen


def first_step(orchestrator: Orchestrator) -> None:
    orchestrator.question(0)
    orchestrator.lease(0, [0, 1])
    orchestrator.update(0, 2)
    orchestrator.aggregate(0)
    orchestrator.question(1)


def test_the_first_batch_of_the_next_step_is_computed_before_it_is_leased() -> None:
    def lead(orchestrator: Orchestrator, ahead: threading.Event) -> None:
        first_step(orchestrator)
        ahead.wait()
        orchestrator.lease(1, [0, 1])
        orchestrator.update(1, 2)
        orchestrator.aggregate(1)
        orchestrator.question(2)
        orchestrator.finish(2)

    assert seen_by_script(lead) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_lease_that_became_shorter_keeps_what_was_computed() -> None:
    def lead(orchestrator: Orchestrator, ahead: threading.Event) -> None:
        first_step(orchestrator)
        ahead.wait()
        orchestrator.lease(1, [0])
        orchestrator.update(1, 1)
        orchestrator.aggregate(1)
        orchestrator.question(2)
        orchestrator.finish(2)

    assert seen_by_script(lead) == [(0, 0), (0, 1), (1, 0)]


def test_a_snapshot_is_sent_before_what_was_computed_is_used() -> None:
    def lead(orchestrator: Orchestrator, ahead: threading.Event) -> None:
        first_step(orchestrator)
        ahead.wait()
        orchestrator.answer("snapshotRequest", step=1)
        orchestrator.snapshot_and_question(1)
        orchestrator.lease(1, [0, 1])
        orchestrator.update(1, 2)
        orchestrator.aggregate(1)
        orchestrator.question(2)
        orchestrator.finish(2)

    assert seen_by_script(lead) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_what_nobody_needs_is_dropped() -> None:
    def lead(orchestrator: Orchestrator, ahead: threading.Event) -> None:
        first_step(orchestrator)
        ahead.wait()
        # Another worker has computed the step: nothing of it is submitted.
        orchestrator.aggregate(1)
        orchestrator.question(2)
        orchestrator.finish(2)

    assert seen_by_script(lead) == [(0, 0), (0, 1), (1, 0)]


def test_a_worker_that_shares_the_step_waits_for_its_lease() -> None:
    def lead(orchestrator: Orchestrator, ahead: threading.Event) -> None:
        orchestrator.question(0)
        orchestrator.lease(0, [0])
        orchestrator.update(0, 1)
        orchestrator.aggregate(0)
        orchestrator.question(1)
        assert not ahead.is_set()
        orchestrator.finish(1)

    assert seen_by_script(lead) == [(0, 0)]
