"""The worker's side of the protocol with the orchestrator: lease, merge, submit, apply."""

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
from pangea.training.lease import Lease
from pangea.training.optimizer import Step, Training
from pangea.training.snapshot import Position
from pangea.training.sums import VectorPool
from pangea.training.tree import Node
from pangea.worker.backoff import Backoff
from pangea.worker.batches import BatchSource
from pangea.worker.dataset_facts import DatasetFacts

_log = logging.getLogger("pangea")


def _truncated(text: str) -> str:
    return text.encode()[:MAX_BROKEN_BYTES].decode(errors="ignore")


class RunDiverged(PangeaError, RuntimeError):
    """This worker's parameters differ from those of the run."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of the services, and how long to wait for them, in seconds.

    Attributes:
        orchestrator: host:port.
        data: host:port of each replica, separated by commas.
        timeout: for the first connection, and for progress within a message.
        reconnect: for a lost service to become reachable again.
    """

    orchestrator: str
    data: str
    timeout: float
    reconnect: float


@dataclass
class Seconds:
    """How the time of the current step was spent, in seconds."""

    data: float = 0.0
    compute: float = 0.0
    exchange: float = 0.0


class Worker:
    """One worker in a run: its connections, its parameters, and the number of steps applied to them.

    A lost connection to the orchestrator is reopened before the next request; the shards leased before are leased
    again.

    Args:
        training: of this worker's model.
        data: connected to the data service.
        addresses: of the services.
        name: of the worker.
        arithmetic: the level that this process is pinned to; empty if it is not pinned.
        take_changes: use this script's settings where those of a checkpoint differ.
    Attributes:
        step: steps applied to the parameters.
        waiting: whether the worker only waits for a service, so that a signal handler may raise.
        settings: of the run, as the orchestrator sent them.
        ended: the orchestrator's last message; None until the run has ended.
    """

    def __init__(
        self,
        training: Training,
        data: _native.DataClient,
        addresses: Addresses,
        name: str,
        arithmetic: str = "",
        *,
        take_changes: bool = False,
    ) -> None:
        self.training, self.parameters = training, training.parameters
        self.seconds = Seconds()
        self.step = 0
        self.waiting = False
        self.ended: _native.RunFinished | None = None
        self._take_changes = take_changes
        self.name, self._addresses = name, addresses
        self._connection_error: _native.WireError | _native.PeerError | None = None
        self._backoff = Backoff(addresses.reconnect)
        self._vectors = VectorPool(self.parameters.elements)
        self.data = data
        self._dataset = data.dataset()
        self._arithmetic, self._fingerprints = arithmetic, sorted(fingerprints().items())
        self._hash = self.parameters.hash()
        self.settings = self._first_join()
        self.dataset = DatasetFacts.of(self._dataset, self.settings)
        self.source = BatchSource(
            self.data,
            self.settings.seed,
            self.settings.batch_size,
            self.settings.shards,
            self.settings.min_shard_samples,
        )

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
        """Joins the run. Retries for up to `Addresses.timeout` if the orchestrator dies or asks to retry later."""
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
                _log.warning("%s retries to join the run at %s: %s", self.name, self._addresses.orchestrator, error)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Marks code that only waits for a service and changes no state, so that a signal handler may raise in it."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False

    def next_lease(self, stopping: Callable[[], bool], stop: str = "") -> Lease | None:
        """Handles what the orchestrator sends until there are shards to compute.

        Args:
            stopping: called before each request; if it returns true, the worker leaves.
            stop: why the run should end after the last committed step; empty if it should not.
        Returns:
            the lease, or None if the run has ended or this worker leaves.
        Raises:
            WireError: the orchestrator was unreachable for too long; the message has its address and since when.
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
                    answer = self._orchestrator.request_work(
                        self.step, self._hash, reported.data, reported.compute, reported.exchange, stop
                    )
                self.seconds.exchange = time.perf_counter() - started
                if isinstance(answer, _native.SnapshotRequest):
                    self._orchestrator.send_snapshot(self.step, self._hash, self.training.encode(self._position()))
                    continue
            except (_native.WireError, _native.PeerError) as error:
                self._handle_connection_error(error)
                continue
            if isinstance(answer, _native.ShardLease):
                return Lease(
                    answer.step,
                    answer.epoch,
                    answer.epoch_step,
                    answer.shards,
                    frozenset(answer.separate),
                    self._vectors,
                )
            if isinstance(answer, _native.Aggregate):
                self._apply(answer)
            elif isinstance(answer, _native.Snapshot):
                self._load(answer)
            else:
                self._finish(answer)
                return None

    def _handle_connection_error(self, error: _native.WireError | _native.PeerError) -> None:
        """Records that the connection is lost, or raises the error if a new connection would not fix it."""
        if isinstance(error, _native.PeerError):
            if error.action not in ("reconnect", "retryLater", "resync"):
                raise error
            if error.action == "resync":
                # The orchestrator sends a snapshot to a worker that reports step 0.
                self.step = 0
        if not self._backoff.since:
            _log.warning(
                "%s lost the connection to the orchestrator at %s and reconnects: %s",
                self.name,
                self._addresses.orchestrator,
                error,
            )
        self._orchestrator.close()
        self._connection_error = error

    def _reconnect(self) -> None:
        """Rejoins the run if the connection was lost."""
        while (lost := self._connection_error) is not None:
            with self.interruptible():
                again = self._backoff.pause(lost.retry_after if isinstance(lost, _native.PeerError) else 0.0)
            if not again:
                raise _native.WireError(
                    f"the orchestrator at {self._addresses.orchestrator} has been unreachable since"
                    f" {self._backoff.since}, for more than {self._backoff.limit:g} s: {lost}; restart it with the"
                    " run's directory, then the workers, or raise PANGEA_RECONNECT_SECONDS"
                ) from lost
            try:
                with self.interruptible():
                    self._join(min(self._addresses.timeout, max(self._backoff.remaining, 1.0)), self.settings.run_id)
            except (_native.WireError, _native.PeerError) as error:
                self._handle_connection_error(error)
                continue
            self._backoff.connected()
            self._connection_error = None
            _log.warning("%s reconnected to the orchestrator, with %d steps applied", self.name, self.step)

    def submit(self, lease: Lease) -> None:
        """Sends the gradient sums of a finished lease: one message for each aligned subtree.

        If the connection breaks, the rest of the lease is dropped: the orchestrator leases it again.
        """
        started = time.perf_counter()
        try:
            for node in lease.roots():
                self._submit_node(lease, node)
        except (_native.WireError, _native.PeerError) as error:
            self._handle_connection_error(error)
        lease.release()
        self.seconds.exchange += time.perf_counter() - started

    def _submit_node(self, lease: Lease, node: Node[torch.Tensor]) -> None:
        reports = [lease.reports[shard] for shard in range(node.first, node.first + node.count)]
        verdict, detail = self._orchestrator.submit(lease.step, node.first, node.count, node.value.numpy(), reports)
        # Another worker submitted different bits. The orchestrator determines which are right, and dismisses the worker
        # with the wrong ones.
        if verdict == "conflict":
            _log.warning("%s: %s", self.name, detail)
        # "duplicate": another worker was faster; "stale": the step is already committed. Nothing is lost, so ask for
        # work.
        elif verdict not in ("accepted", "duplicate", "stale"):
            raise RunDiverged(
                f"the orchestrator rejected shards {node.first}..{node.first + node.count - 1} of step {lease.step}"
                f" ({verdict}): {detail}"
            )

    def _position(self) -> Position:
        return Position(self.step, self.settings.seed, self.settings.shards, self.settings.batch_size)

    def _apply(self, aggregate: _native.Aggregate) -> None:
        started = time.perf_counter()
        if aggregate.step != self.step:
            raise RunDiverged(
                f"received the gradient of step {aggregate.step}, but this worker has the parameters of step"
                f" {self.step}"
            )
        total = torch.frombuffer(aggregate.gradients, dtype=torch.float32)
        self.training.apply(
            total,
            aggregate.samples,
            aggregate.loss_sum,
            aggregate.divisor,
            self._describe(aggregate),
            self.settings.seed,
        )
        self._advanced_to(self.step + 1)
        self.seconds.compute += time.perf_counter() - started

    def _describe(self, aggregate: _native.Aggregate) -> Step:
        epoch, within = divmod(aggregate.step, self.dataset.steps_per_epoch)
        loss = aggregate.loss_sum / aggregate.divisor if aggregate.divisor else float("nan")
        return Step(aggregate.step, epoch, within + 1 == self.dataset.steps_per_epoch, aggregate.samples, loss)

    def _load(self, received: _native.Snapshot) -> None:
        position = self.training.load(bytes(received.data), take_changes=self._take_changes)
        self._advanced_to(received.step)
        if position != self._position():
            raise RunDiverged(f"the snapshot was taken at {position}, but the run is at {self._position()}")
        if self._hash != received.parameters_hash:
            raise RunDiverged(
                f"the parameters loaded from the snapshot of step {received.step} have a different hash than the"
                " original ones; check that all workers use the same torch build"
            )

    def _advanced_to(self, step: int) -> None:
        self.step = step
        self._hash = self.parameters.hash()
        self._backoff.progressed()

    def _finish(self, finished: _native.RunFinished) -> None:
        if finished.steps != self.step or finished.parameters_hash != self._hash:
            raise RunDiverged(
                f"the run ended at step {finished.steps} with parameters that differ from this worker's at step"
                f" {self.step}"
            )
        self.ended = finished

    def leave(self, reason: str, broken: str = "") -> None:
        """Leaves the run, which frees the leased shards immediately. An unreachable orchestrator notices by itself.

        Args:
            reason: shown to users.
            broken: how the script breaks the promise of the same bits; empty if the reason is a different one.
        """
        with suppress(_native.WireError, _native.PeerError):
            self._orchestrator.leave(reason, _truncated(broken))

    def close(self) -> None:
        """Closes both connections."""
        self._orchestrator.close()
        self.data.close()
