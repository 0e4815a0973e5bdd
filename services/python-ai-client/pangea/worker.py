"""What a worker does for the run between two batches: lease, merge, submit, apply. `Run` is its face to the training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from pangea import _native, snapshot
from pangea.batches import BatchSource
from pangea.determinism import describe_software
from pangea.gradients import Parameters
from pangea.tree import Node, merge


class RunDiverged(RuntimeError):
    """This worker's parameters are not those of the run."""


@dataclass
class Seconds:
    """Where the time of the current step went."""

    data: float = 0.0
    compute: float = 0.0
    exchange: float = 0.0


@dataclass
class Lease:
    """The shards that this worker computes now, and what it has of them."""

    step: int
    epoch: int
    epoch_step: int
    shards: list[int]
    sums: dict[int, torch.Tensor] = field(default_factory=dict)
    reports: dict[int, tuple[int, int, float, bytes]] = field(default_factory=dict)

    def record(self, shard: int, samples: int, loss_sum: float, batch_hash: bytes, gradient: torch.Tensor) -> None:
        """Notes the result of one shard: its flat gradient sum and the sum of its loss."""
        self.sums[shard] = gradient
        self.reports[shard] = (shard, samples, loss_sum, batch_hash)


class Worker:
    """One worker's place in a run: its connections, its parameters and the step that they stand at."""

    def __init__(self, parameters: Parameters, optimizer: torch.optim.Optimizer, orchestrator: str, data: str, name: str, timeout: float) -> None:
        self.parameters, self.optimizer = parameters, optimizer
        self.seconds = Seconds()
        self.step = 0
        self._name, self._orchestrator_address, self._timeout = name, orchestrator, timeout
        self.data = _native.DataClient(data, timeout)
        self.dataset = self.data.dataset()
        self.reply = self._join()
        self.source = BatchSource(self.data, self.reply.seed, self.reply.batch_size, self.reply.shards)

    def _join(self) -> _native.JoinReply:
        self._orchestrator = _native.OrchestratorClient(self._orchestrator_address, self._timeout)
        self._hash = self.parameters.hash()
        return self._orchestrator.join(self._name, describe_software(), self.parameters.specs(), self._hash, self.step, self.dataset)

    def next_lease(self, stopping: Callable[[], bool]) -> Lease | None:
        """Applies what the orchestrator sends until there are shards to compute.

        Args:
            stopping: asked before each request; when true, the worker leaves.
        Returns:
            the lease, or None when the run is finished or this worker leaves.
        """
        while True:
            if stopping():
                self._orchestrator.leave("stopped")
                return None
            started = time.perf_counter()
            reported, self.seconds = self.seconds, Seconds()
            answer = self._orchestrator.request_work(self.step, self._hash, reported.data, reported.compute, reported.exchange)
            self.seconds.exchange = time.perf_counter() - started
            if isinstance(answer, _native.ShardLease):
                return Lease(answer.step, answer.epoch, answer.epoch_step, answer.shards)
            if isinstance(answer, _native.Aggregate):
                self._apply(answer)
            elif isinstance(answer, _native.SnapshotRequest):
                self._orchestrator.send_snapshot(self.step, self._hash, snapshot.encode(self.parameters.model, self.optimizer, self.step))
            elif isinstance(answer, _native.Snapshot):
                self._load(answer)
            else:
                self._finish(answer)
                return None

    def submit(self, lease: Lease) -> None:
        """Sends the gradient sums of a finished lease: one message for each aligned subtree."""
        started = time.perf_counter()
        for node in merge(lease.sums, torch.Tensor.add_):
            self._submit_node(lease, node)
        self.seconds.exchange += time.perf_counter() - started

    def _submit_node(self, lease: Lease, node: Node[torch.Tensor]) -> None:
        reports = [lease.reports[shard] for shard in range(node.first, node.first + node.count)]
        verdict, detail = self._orchestrator.submit(lease.step, node.first, node.count, node.value.numpy(), reports)
        # Someone else was faster, or the step is closed: nothing is lost, ask for work.
        if verdict not in ("accepted", "duplicate", "stale"):
            raise RunDiverged(f"the orchestrator did not take shards {node.first}..{node.first + node.count - 1} of step {lease.step} ({verdict}): {detail}")

    def _apply(self, aggregate: _native.Aggregate) -> None:
        started = time.perf_counter()
        if aggregate.step != self.step:
            raise RunDiverged(f"got the gradient of step {aggregate.step} while holding the parameters of step {self.step}")
        self.parameters.set_gradient(torch.frombuffer(aggregate.gradients, dtype=torch.float32), aggregate.samples)
        self.optimizer.step()
        self.parameters.clear_gradients()
        self.step += 1
        self._hash = self.parameters.hash()
        self.seconds.compute += time.perf_counter() - started

    def _load(self, received: _native.Snapshot) -> None:
        self.step = snapshot.decode_into(bytes(received.data), self.parameters.model, self.optimizer)
        self._hash = self.parameters.hash()
        if self._hash != received.parameters_hash:
            raise RunDiverged(f"the snapshot of step {received.step} loads to other parameters than it was made from; is this the same torch build and processor kind?")

    def _finish(self, finished: _native.RunFinished) -> None:
        if finished.steps != self.step or finished.parameters_hash != self._hash:
            raise RunDiverged(f"the run ended at step {finished.steps} with other parameters than this worker holds at step {self.step}")

    def leave(self, reason: str) -> None:
        """Gives the leased shards back at once."""
        self._orchestrator.leave(reason)

    def close(self) -> None:
        """Closes both connections."""
        self._orchestrator.close()
        self.data.close()
