"""The rehearsals of a worker, one at a time: when, with which shard, and what each side has found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pangea import _native
from pangea.services.options import REHEARSE
from pangea.training.gradients import Parameters
from pangea.training.lease import Lease
from pangea.training.rehearsal import FIRST_STEPS, Plan, Rehearsal, Result, digests, loss_text
from pangea.training.trace import OutputTrace
from pangea.worker.batches import Batch

FRACTION_VARIABLE = "PANGEA_REHEARSE"
DOCTOR_VARIABLE = "PANGEA_DOCTOR"
# How many leases `pangea doctor SCRIPT` looks at.
DOCTOR_LEASES = 8


@dataclass(frozen=True)
class Target:
    """The batch of a rehearsal, and how often the child computes it: twice where there is no other shard to come before."""

    batch: Batch
    repetitions: int


def fraction() -> float:
    """Share of the shards that are rehearsed after the first steps.

    Raises:
        ValueError: the variable holds no such number.
    """
    text = os.environ.get(FRACTION_VARIABLE, str(REHEARSE))
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{FRACTION_VARIABLE} is {text!r}; it must be a number from 0 (no rehearsals) to 1")
    return value


class Rehearser:
    """Used by `Run` around each shard. In the child of a rehearsal `child` is true, and nothing leaves this object but the result."""

    def __init__(self, parameters: Parameters, seed: int, share: float, connect: tuple[str, float]) -> None:
        """Args:
        parameters: of the model.
        seed: of the run.
        share: of the shards that are rehearsed after the first steps; 0 for no rehearsals at all.
        connect: addresses of the data service and time-out, for a child that evaluates.
        """
        self._parameters, self._connect = parameters, connect
        self._plan = Plan(seed, share)
        self._names = [name for name, _, _ in parameters.specs()]
        self._sizes = [torch.Size(shape).numel() for _, _, shape in parameters.specs()]
        self._trace = OutputTrace(parameters.model) if os.environ.get(DOCTOR_VARIABLE) == "1" else None
        self._current: Rehearsal | None = None
        self._leases = 0
        self._data: _native.DataClient | None = None
        self.in_child = False
        self.last_repetition = False

    @property
    def doctor_has_finished(self) -> bool:
        """Whether this is `pangea doctor SCRIPT`, which has seen enough of a script that keeps the promise."""
        return self._trace is not None and self._leases > DOCTOR_LEASES

    @property
    def in_first_steps(self) -> bool:
        """Whether this worker computes one of its first leases."""
        return self._leases <= FIRST_STEPS

    def wants(self, lease: Lease) -> bool:
        """Whether a lease is to be rehearsed; to be asked once for each."""
        self._leases += 1
        return self._plan.wants(lease.step, len(lease.shards))

    def fork(self, lease: Lease, batches: list[Batch]) -> Target | None:
        """Forks. Gives the child what it computes, and the parent None."""
        filled = [batch for batch in batches if batch.samples > 0]
        if not filled:
            return None
        target = Target(filled[-1], 1 if len(filled) > 1 else 2)
        self._current = Rehearsal(lease.step, target.batch.shard, self._names, self._trace)
        try:
            self.in_child = self._current.fork()
        except OSError:
            # Too little memory, or too many processes: the training itself may still do.
            self._current = None
        return target if self.in_child else None

    def _is_target(self, batch: Batch) -> bool:
        return self._current is not None and (self._current.step, self._current.shard) == (batch.step, batch.shard)

    def begin_shard(self, batch: Batch) -> None:
        """Says that the script is given a batch."""
        if self._trace is not None and self._is_target(batch):
            self._trace.start()

    def _traced(self) -> list[tuple[str, str, str]]:
        if self._trace is None:
            return []
        self._trace.stop()
        return self._trace.entries

    def take_in_child(self, loss: torch.Tensor, contribution: Callable[[], torch.Tensor]) -> bool:
        """In the child, takes the loss of a batch: true, and the last one ends the child. In the parent, false.

        Args:
            loss: of the batch.
            contribution: computes what the shard contributes.
        """
        if not self.in_child or self._current is None:
            return False
        outputs, text = self._traced(), loss_text(loss)
        try:
            parts = digests(contribution(), self._sizes)
        except RuntimeError as error:
            if "fork-based multiprocessing" not in str(error):
                raise
            parts = None
        if self.last_repetition:
            self._current.send_result(Result(text, parts, outputs))
        return True

    def note_result(self, batch: Batch, loss: torch.Tensor, flat: torch.Tensor) -> None:
        """In the parent, notes what a shard came out as."""
        if self._current is not None and self._is_target(batch):
            self._current.set_expected(Result(loss_text(loss), digests(flat, self._sizes), self._traced()))

    def compare(self) -> str | None:
        """Why the rehearsal came to no result, or None.

        Raises:
            BrokenPromise: the results differ.
        """
        current, self._current = self._current, None
        if current is None:
            return None
        try:
            return current.compare()
        finally:
            current.abandon()

    def disable(self) -> None:
        """No more rehearsals: what they find is known, and wanted."""
        self._plan = Plan(0, 0.0)

    def abandon(self) -> None:
        """Ends the child of a lease that is not finished."""
        if self._current is not None and not self.in_child:
            self._current.abandon()
            self._current = None

    def fail_child(self, reason: str) -> None:
        """In the child, ends it without a result; in the parent, nothing."""
        if self.in_child and self._current is not None:
            self._current.fail(reason)

    def data_client(self, client: _native.DataClient) -> _native.DataClient:
        """The connection to the data service; the child needs one of its own, as the parent's threads are not there."""
        if not self.in_child:
            return client
        if self._data is None:
            self._data = _native.DataClient(*self._connect)
        return self._data
