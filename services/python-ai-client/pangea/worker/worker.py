"""What a worker does for the run between two batches: lease, merge, submit, apply. `Run` is its face to the training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from pangea import _native
from pangea.contract import MAX_BROKEN_BYTES
from pangea.errors import PangeaError
from pangea.training.determinism import describe_software
from pangea.training.fingerprints import fingerprints
from pangea.training.lease import Lease, Vectors
from pangea.training.optimizer import Step, Training
from pangea.training.snapshot import Position
from pangea.training.tree import Node
from pangea.worker.backoff import Backoff
from pangea.worker.batches import BatchSource
from pangea.worker.dataset_facts import DatasetFacts

_log = logging.getLogger("pangea")


def _cut(text: str) -> str:
    return text.encode()[:MAX_BROKEN_BYTES].decode(errors="ignore")


class RunDiverged(PangeaError, RuntimeError):
    """This worker's parameters are not those of the run."""


@dataclass(frozen=True)
class Addresses:
    """Where the services are, and for how long (seconds) to wait for them.

    Attributes:
        orchestrator: host:port.
        data: host:port of each replica, separated by commas.
        timeout: for the first connection, and for progress inside a message.
        reconnect: how long a lost service is waited for.
    """

    orchestrator: str
    data: str
    timeout: float
    reconnect: float


@dataclass
class Seconds:
    """Where the time of the current step went."""

    data: float = 0.0
    compute: float = 0.0
    exchange: float = 0.0


class Worker:
    """One worker's place in a run: its connections, its parameters and the step that they stand at.

    A lost connection to the orchestrator is opened again before the next request; what was computed meanwhile is computed again by whoever is asked to.
    """

    def __init__(self, training: Training, data: _native.DataClient, addresses: Addresses, name: str, arithmetic: str = "", *, take_changes: bool = False) -> None:
        """Args:
        training: of this worker's model.
        data: connected to the data service.
        addresses: of the services.
        name: of the worker.
        arithmetic: the level that this process is pinned to; empty if to none.
        take_changes: go on with this script's settings where a checkpoint was made with others.
        """
        self.training, self.parameters = training, training.parameters
        self.seconds = Seconds()
        self.step = 0
        self.waiting = False
        self.ended: _native.RunFinished | None = None
        self._take_changes = take_changes
        self.name, self._addresses = name, addresses
        self._lost: _native.WireError | _native.PeerError | None = None
        self._backoff = Backoff(addresses.reconnect)
        self._vectors = Vectors(self.parameters.elements)
        self.data = data
        self._dataset = data.dataset()
        self._arithmetic, self._fingerprints = arithmetic, sorted(fingerprints().items())
        self._hash = self.parameters.hash()
        self.reply = self._first_join()
        self.dataset = DatasetFacts.of(self._dataset, self.reply)
        self.source = BatchSource(self.data, self.reply.seed, self.reply.batch_size, self.reply.shards, self.reply.min_shard_samples)

    def _join(self, timeout: float, run_id: str = "") -> _native.JoinReply:
        self._orchestrator = _native.OrchestratorClient(self._addresses.orchestrator, timeout)
        return self._orchestrator.join(
            self.name,
            describe_software(),
            self.parameters.specs(),
            self._hash,
            self.step,
            self._dataset,
            run_id,
            training=self.training.description,
            arithmetic=self._arithmetic,
            fingerprints=self._fingerprints,
        )

    def _first_join(self) -> _native.JoinReply:
        """Joins. An orchestrator that dies meanwhile, or asks to come later, is tried again for as long as it may take to reach it."""
        started, backoff = time.monotonic(), Backoff(self._addresses.timeout)
        while True:
            left = self._addresses.timeout - (time.monotonic() - started)
            try:
                return self._join(max(left, 1.0))
            except (_native.WireError, _native.PeerError) as error:
                later = error.retry_after if isinstance(error, _native.PeerError) else 0.0
                if isinstance(error, _native.PeerError) and error.action not in ("reconnect", "retryLater"):
                    raise
                if time.monotonic() - started >= self._addresses.timeout or not backoff.pause(later):
                    raise
                _log.warning("%s tries to join the run at %s again: %s", self.name, self._addresses.orchestrator, error)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While this is entered nothing changes but what a service sends, so a signal handler may raise."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False

    def next_lease(self, stopping: Callable[[], bool], stop: str = "") -> Lease | None:
        """Applies what the orchestrator sends until there are shards to compute.

        Args:
            stopping: asked before each request; when true, the worker leaves.
            stop: why the run is to end after the last committed step, if it is.
        Returns:
            the lease, or None when the run is finished or this worker leaves.
        Raises:
            WireError: the orchestrator did not come back in time; the message says since when it is gone, and where it was.
            PeerError: the run cannot use this worker; the message says why.
        """
        while True:
            if stopping():
                self.leave("stopped")
                return None
            started = time.perf_counter()
            reported, self.seconds = self.seconds, Seconds()
            self._reconnect()
            try:
                with self.interruptible():
                    answer = self._orchestrator.request_work(self.step, self._hash, reported.data, reported.compute, reported.exchange, stop)
                self.seconds.exchange = time.perf_counter() - started
                if isinstance(answer, _native.SnapshotRequest):
                    self._orchestrator.send_snapshot(self.step, self._hash, self.training.encode(self._position()))
                    continue
            except (_native.WireError, _native.PeerError) as error:
                self._lose(error)
                continue
            if isinstance(answer, _native.ShardLease):
                return Lease(answer.step, answer.epoch, answer.epoch_step, answer.shards, frozenset(answer.separate), self._vectors)
            if isinstance(answer, _native.Aggregate):
                self._apply(answer)
            elif isinstance(answer, _native.Snapshot):
                self._load(answer)
            else:
                self._finish(answer)
                return None

    def _lose(self, error: _native.WireError | _native.PeerError) -> None:
        """Notes that the connection is of no more use, unless the error is one that a new connection does not mend."""
        if isinstance(error, _native.PeerError):
            if error.action not in ("reconnect", "retryLater", "resync"):
                raise error
            if error.action == "resync":
                # The orchestrator gives a snapshot to one that says it holds nothing.
                self.step = 0
        if not self._backoff.since:
            _log.warning("%s connects to the orchestrator at %s again: %s", self.name, self._addresses.orchestrator, error)
        self._orchestrator.close()
        self._lost = error

    def _reconnect(self) -> None:
        """Joins the run again if the connection was lost."""
        while (lost := self._lost) is not None:
            with self.interruptible():
                again = self._backoff.pause(lost.retry_after if isinstance(lost, _native.PeerError) else 0.0)
            if not again:
                raise _native.WireError(
                    f"the orchestrator at {self._addresses.orchestrator} is gone since {self._backoff.since} and did not come back within {self._backoff.limit:g} s: {lost}; "
                    "start it again with the run's directory and then its workers, or raise PANGEA_RECONNECT_SECONDS"
                ) from lost
            try:
                with self.interruptible():
                    self._join(min(self._addresses.timeout, max(self._backoff.left, 1.0)), self.reply.run_id)
            except (_native.WireError, _native.PeerError) as error:
                self._lose(error)
                continue
            self._backoff.connected()
            self._lost = None
            _log.warning("%s is connected to the orchestrator again and holds %d steps", self.name, self.step)

    def submit(self, lease: Lease) -> None:
        """Sends the gradient sums of a finished lease: one message for each aligned subtree.

        If the connection breaks, the rest of the lease is dropped: the orchestrator leases it again.
        """
        started = time.perf_counter()
        try:
            for node in lease.roots():
                self._submit_node(lease, node)
        except (_native.WireError, _native.PeerError) as error:
            self._lose(error)
        lease.release()
        self.seconds.exchange += time.perf_counter() - started

    def _submit_node(self, lease: Lease, node: Node[torch.Tensor]) -> None:
        reports = [lease.reports[shard] for shard in range(node.first, node.first + node.count)]
        verdict, detail = self._orchestrator.submit(lease.step, node.first, node.count, node.value.numpy(), reports)
        # Who is right about other bits is found out by the orchestrator, and it sends away who is not.
        if verdict == "conflict":
            _log.warning("%s: %s", self.name, detail)
        # Someone else was faster, or the step is closed: nothing is lost, ask for work.
        elif verdict not in ("accepted", "duplicate", "stale"):
            raise RunDiverged(f"the orchestrator did not take shards {node.first}..{node.first + node.count - 1} of step {lease.step} ({verdict}): {detail}")

    def _position(self) -> Position:
        return Position(self.step, self.reply.seed, self.reply.shards, self.reply.batch_size)

    def _apply(self, aggregate: _native.Aggregate) -> None:
        started = time.perf_counter()
        if aggregate.step != self.step:
            raise RunDiverged(f"got the gradient of step {aggregate.step} while holding the parameters of step {self.step}")
        total = torch.frombuffer(aggregate.gradients, dtype=torch.float32)
        self.training.apply(total, aggregate.samples, aggregate.loss_sum, aggregate.divisor, self._describe(aggregate), self.reply.seed)
        self._moved(self.step + 1)
        self.seconds.compute += time.perf_counter() - started

    def _describe(self, aggregate: _native.Aggregate) -> Step:
        epoch, within = divmod(aggregate.step, self.dataset.steps_per_epoch)
        loss = aggregate.loss_sum / aggregate.divisor if aggregate.divisor else float("nan")
        return Step(aggregate.step, epoch, within + 1 == self.dataset.steps_per_epoch, aggregate.samples, loss)

    def _load(self, received: _native.Snapshot) -> None:
        position = self.training.load(bytes(received.data), take_changes=self._take_changes)
        self._moved(received.step)
        if position != self._position():
            raise RunDiverged(f"the snapshot says that it is of {position}, where the run is at {self._position()}")
        if self._hash != received.parameters_hash:
            raise RunDiverged(f"the snapshot of step {received.step} loads to other parameters than it was made from; is this the same torch build and processor kind?")

    def _moved(self, step: int) -> None:
        self.step = step
        self._hash = self.parameters.hash()
        self._backoff.progressed()

    def _finish(self, finished: _native.RunFinished) -> None:
        if finished.steps != self.step or finished.parameters_hash != self._hash:
            raise RunDiverged(f"the run ended at step {finished.steps} with parameters that differ from those that this worker holds at step {self.step}")
        self.ended = finished

    def leave(self, reason: str, broken: str = "") -> None:
        """Gives the leased shards back at once; when the orchestrator cannot be reached, it notices by itself.

        Args:
            reason: for people.
            broken: what the script does that breaks the promise of the same bits, if that is why.
        """
        with suppress(_native.WireError, _native.PeerError):
            self._orchestrator.leave(reason, _cut(broken))

    def close(self) -> None:
        """Closes both connections."""
        self._orchestrator.close()
        self.data.close()
