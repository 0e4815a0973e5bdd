"""The worker's side of the protocol with the orchestrator: lease, merge, submit, apply."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from pangea import _native
from pangea.errors import PangeaError
from pangea.training.determinism import describe_software
from pangea.training.fingerprints import fingerprints
from pangea.training.lease import Lease
from pangea.training.optimizer import Step, Training
from pangea.training.snapshot import BadSnapshot, Position
from pangea.worker.data_source import DataSource
from pangea.worker.dataset_facts import DatasetFacts
from pangea.worker.figures import Logged
from pangea.worker.gradient_memory import GradientMemory
from pangea.worker.membership import Addresses, Membership
from pangea.worker.sigterm import Stopped, Waiting

_log = logging.getLogger("pangea")

Answer: TypeAlias = (
    _native.ShardLease | _native.Aggregate | _native.SnapshotRequest | _native.Snapshot | _native.RunFinished
)


def _vector(gradients: _native.Buffer | _native.SharedBuffer) -> torch.Tensor:
    """The flat vector of an aggregate, which is only read: it may be in memory of the orchestrator."""
    with warnings.catch_warnings():
        # torch warns of memory that cannot be written to.
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(gradients, dtype=torch.float32)


class RunDiverged(PangeaError, RuntimeError):
    """This worker's parameters differ from those of the run."""


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
        data: where the batches come from.
        addresses: of the services.
        name: of the worker.
        arithmetic: the level that this process is pinned to; empty if it is not pinned.
        take_changes: use this script's settings where those of a checkpoint differ.
    Attributes:
        step: steps applied to the parameters.
        waiting: entered while the worker only waits for a service.
        logged: what the script logs outside of its batches.
        settings: of the run, as the orchestrator sent them.
        ended: the orchestrator's last message; None until the run has ended.
    """

    def __init__(
        self,
        training: Training,
        data: DataSource,
        addresses: Addresses,
        name: str,
        arithmetic: str = "",
        *,
        take_changes: bool = False,
    ) -> None:
        self.training, self.parameters = training, training.parameters
        self.seconds = Seconds()
        self.logged = Logged()
        self.step = 0
        self.waiting = Waiting()
        self.ended: _native.RunFinished | None = None
        self._take_changes = take_changes
        self.name = name
        self._vectors = GradientMemory(self.parameters.elements, lambda: self._membership.client.slot())
        self.data = data
        device = self.parameters.device
        self._arithmetic = arithmetic
        self._fingerprints = sorted(
            fingerprints(device.torch_device if device.torch_device.type != "cpu" else None).items()
        )
        self._known_hash: bytes | None = None
        self._hashing: _native.ParametersHash | None = None
        self._asked, self._asked_to_stop = False, ""
        self._unhandled: Answer | None = None
        self._alone = False  # whether this worker has submitted all shards of the last step
        self._submitted: list[tuple[int, int, int]] = []  # step, first shard and shards, without a verdict
        self._hashes_constants = False  # whether nothing that is hashed changes before the next step
        self._membership = Membership(addresses, name, self._introduce, self._resync, self.waiting)
        self.settings = self._membership.join()
        self.dataset = DatasetFacts.of(self.data.info, self.settings)
        self.data.begin(self.settings, self.dataset.locate, self.waiting)

    def _introduce(self, client: _native.OrchestratorClient, run_id: str) -> _native.JoinReply:
        return client.join(
            self.name,
            describe_software(self.parameters.device),
            self.parameters.specs(),
            self.parameters.hash("sha256"),
            self.step,
            self.data.info,
            run_id,
            training=self.training.description,
            arithmetic=self._arithmetic,
            fingerprints=self._fingerprints,
            parameters_content_hash=self.parameters.hash("xxh3Tree"),
        )

    def _resync(self) -> None:
        # The orchestrator sends a snapshot to a worker that reports step 0.
        self.step = 0

    def next_lease(
        self, stopping: Callable[[], bool], stop: str = "", may_assume: Callable[[int, int], bool] | None = None
    ) -> Lease | None:
        """Handles what the orchestrator sends until there are shards to compute.

        Args:
            stopping: called before each request; if it returns true, the worker leaves.
            stop: why the run should end after the last committed step; empty if it should not.
            may_assume: returns whether a lease of a step and that many shards may be assumed; see `confirm`.
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
            if self._membership.restore():
                _log.warning("%s reconnected to the orchestrator, with %d steps applied", self.name, self.step)
            try:
                answer = self._unhandled or self._answer(stop)
                self._unhandled = None
                if isinstance(answer, _native.SnapshotRequest):
                    self._give_state()
                    continue
            except (_native.WireError, _native.PeerError) as error:
                self._lost(error)
                continue
            if isinstance(answer, _native.ShardLease):
                if stop and self._asked_to_stop != stop:
                    continue  # the answer to a question from before the script left its loop
                return self._lease(answer)
            alone, self._alone = self._alone, False
            if isinstance(answer, _native.Aggregate):
                self._apply(answer)
                if not stop:
                    self._ask_beside()
                if alone and self._asked and may_assume is not None and (lease := self._assumed(may_assume)):
                    return lease
                continue
            if isinstance(answer, _native.Snapshot):
                self._load(answer)
            else:
                self._finish(answer)
                return None

    def _assumed(self, may_assume: Callable[[int, int], bool]) -> Lease | None:
        """Returns the lease that will very probably follow: all shards of the next step, as of the last one.

        Only a worker that has computed all shards of a step assumes that it gets those of the next: nobody else is
        there who could have asked for the end of the run, or whose return would change the lease. So no script sees a
        batch that does not count, unless the connection is lost, as for any other lease.
        """
        place = self.dataset.locate(self.step)
        shards = self.settings.shards
        if place is None or not self._hashes_constants or not may_assume(self.step, shards):
            return None
        return Lease(self.step, *place, list(range(shards)), frozenset(), self._vectors, assumed=True)

    def confirm(self, lease: Lease) -> bool:
        """Waits for the answer that an assumed lease was computed ahead of, and makes it that of the lease.

        Returns:
            whether the lease begins with the same shard; if not, `next_lease` handles the answer, and what was
            computed must be dropped.
        """
        earlier = self.seconds.exchange
        try:
            answer = self._answer("")
            while isinstance(answer, _native.SnapshotRequest):
                self._give_state()
                answer = self._answer("")
        except (_native.WireError, _native.PeerError) as error:
            self._lost(error)
            return False
        except Stopped:
            return False
        finally:
            # The caller counts this wait as computation.
            self.seconds.compute -= self.seconds.exchange - earlier
        if (
            not isinstance(answer, _native.ShardLease)
            or answer.step != lease.step
            or answer.shards[0] != lease.shards[0]
        ):
            self._unhandled = answer
            return False
        lease.confirm(answer.shards, frozenset(answer.separate))
        return True

    def _give_state(self) -> None:
        # It is copied; a thread sends the copy while this one continues.
        self._membership.client.give_state(self.step, self._hash, self.training.state_parts(self._position()))

    def _answer(self, stop: str) -> Answer:
        """Waits for the answer to the last question, or asks one."""
        started = time.perf_counter()
        client = self._membership.client
        if not self._asked:
            client.ask(self.step, self._hash, *self._taken_seconds(), stop, self.logged.of_applied(self.step))
            self._asked, self._asked_to_stop = True, stop
        with self.waiting:
            answer = client.answer()
        self._asked = False
        self._check_verdicts(client)
        self.seconds.exchange += time.perf_counter() - started
        return answer

    def _ask_beside(self) -> None:
        """Asks for work in a thread that first hashes the parameters, while this one continues."""
        memory, arrived = self.parameters.memory()
        # A forward pass may write to buffers, but to parameters only where that is tolerated.
        self._hashes_constants = (
            len(memory) == len(self.parameters.trainable) and self.parameters.on_broken_promise is None
        )
        try:
            self._hashing = self._membership.client.ask_beside(
                self.step, memory, *self._taken_seconds(), self.logged.of_applied(self.step), arrived
            )
        except (_native.WireError, _native.PeerError) as error:
            self._lost(error)
            return
        self._asked, self._asked_to_stop = True, ""

    def _taken_seconds(self) -> tuple[float, float, float]:
        """Returns how the time since the last question was spent; from now on counts the next one."""
        spent, self.seconds = self.seconds, Seconds()
        return spent.data, spent.compute, spent.exchange

    @property
    def _hash(self) -> bytes:
        """The hash of the parameters; a thread may still be computing it."""
        if self._hashing is not None:
            self._known_hash, self._hashing = self._hashing.value(), None
        if self._known_hash is None:
            self._known_hash = self.parameters.hash(self.settings.content_hash)
        return self._known_hash

    def _lost(self, error: _native.WireError | _native.PeerError) -> None:
        self._asked = self._alone = False
        self._submitted = []
        self._membership.lost(error)

    def _lease(self, answer: _native.ShardLease) -> Lease:
        return Lease(
            answer.step, answer.epoch, answer.epoch_step, answer.shards, frozenset(answer.separate), self._vectors
        )

    def submit(self, lease: Lease) -> None:
        """Sends the gradient sums of a finished lease, one for each aligned subtree, and asks for work in one write.

        The verdicts on them arrive before the answer, and are checked with it. If the connection breaks, the rest of
        the lease is dropped: the orchestrator leases it again.
        """
        started = time.perf_counter()
        nodes = lease.roots()
        self._alone = len(lease.reports) == self.settings.shards and not any(
            report.stop for report in lease.reports.values()
        )
        sums = [
            (lease.step, node.first, node.count, node.value.flat().numpy(), lease.reports_of(node), node.value.digest)
            for node in nodes
        ]
        try:
            self._membership.client.send_and_ask(
                sums, self.step, self._hash, *self._taken_seconds(), self.logged.of_applied(self.step)
            )
            self._asked, self._asked_to_stop = True, ""
            self._submitted = [(lease.step, node.first, node.count) for node in nodes]
        except (_native.WireError, _native.PeerError) as error:
            self._lost(error)
        lease.release()
        self.seconds.exchange += time.perf_counter() - started

    def _check_verdicts(self, client: _native.OrchestratorClient) -> None:
        """Checks the verdicts on what was submitted, which arrived before the answer."""
        if self._submitted:
            submitted, self._submitted = self._submitted, []
            for sums, (verdict, detail) in zip(submitted, client.verdicts(), strict=True):
                self._check_verdict(*sums, verdict, detail)

    def _check_verdict(self, step: int, first: int, count: int, verdict: str, detail: str) -> None:
        # Another worker submitted different bits. The orchestrator determines which are right, and dismisses the worker
        # with the wrong ones.
        if verdict == "conflict":
            _log.warning("%s: %s", self.name, detail)
        # "duplicate": another worker was faster; "stale": the step is already committed. Nothing is lost: the question
        # was asked.
        elif verdict not in ("accepted", "duplicate", "stale"):
            raise RunDiverged(
                f"the orchestrator rejected shards {first}..{first + count - 1} of step {step} ({verdict}): {detail}"
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
        self.training.apply(
            _vector(aggregate.gradients),
            aggregate.samples,
            aggregate.loss_sum,
            aggregate.divisor,
            self._describe(aggregate),
            self.settings.seed,
        )
        self.step += 1
        self._known_hash, self._hashing = None, None
        self._membership.progressed()
        self.seconds.compute += time.perf_counter() - started

    def _describe(self, aggregate: _native.Aggregate) -> Step:
        epoch, within = divmod(aggregate.step, self.dataset.steps_per_epoch)
        loss = aggregate.loss_sum / aggregate.divisor if aggregate.divisor else float("nan")
        return Step(aggregate.step, epoch, within + 1 == self.dataset.steps_per_epoch, aggregate.samples, loss)

    def _load(self, received: _native.Snapshot) -> None:
        try:
            position = self.training.load(bytes(received.data), take_changes=self._take_changes)
        except BadSnapshot as error:
            # So that nobody else is sent it, if the state is at fault and not this worker.
            self._membership.leave(f"it cannot load the state of step {received.step}: {error}"[:500], cannot_load=True)
            raise
        self.step = received.step
        self._known_hash, self._hashing = None, None
        self._membership.progressed()
        if position != self._position():
            raise RunDiverged(f"the snapshot was taken at {position}, but the run is at {self._position()}")
        if self._hash != received.parameters_hash:
            raise RunDiverged(
                f"the parameters loaded from the snapshot of step {received.step} have a different hash than the"
                " original ones; check that all workers use the same torch build"
            )

    def _finish(self, finished: _native.RunFinished) -> None:
        if finished.steps != self.step or finished.parameters_hash != self._hash:
            raise RunDiverged(
                f"the run ended at step {finished.steps} with parameters that differ from this worker's at step"
                f" {self.step}"
            )
        self.ended = finished

    def leave(self, reason: str, broken: str = "") -> None:
        """Leaves the run; see `Membership.leave`."""
        self._membership.leave(reason, broken)

    def close(self) -> None:
        """Closes both connections."""
        self._membership.close()
        self.data.close()
