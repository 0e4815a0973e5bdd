"""Runs the rehearsals of a worker, one at a time: which leases, with which shard, and what each process computed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from pangea.services.options import REHEARSE
from pangea.training.gradients import Parameters
from pangea.training.lease import Lease
from pangea.training.rehearsal import FIRST_STEPS, Plan, Rehearsal, Result, digests
from pangea.training.sums import GradientSum
from pangea.training.trace import OutputTrace
from pangea.worker.batches import Batch

FRACTION_VARIABLE = "PANGEA_REHEARSE"
DOCTOR_VARIABLE = "PANGEA_DOCTOR"
# Number of leases that `pangea doctor SCRIPT` checks.
DOCTOR_LEASES = 8


@dataclass(frozen=True)
class Target:
    """The batch of a rehearsal, and how often the child computes it: twice if the lease has no other shard."""

    batch: Batch
    repetitions: int


def fraction() -> float:
    """Returns the fraction of shards to rehearse after the first steps, from PANGEA_REHEARSE.

    Raises:
        ValueError: the variable is not a number from 0 to 1.
    """
    text = os.environ.get(FRACTION_VARIABLE) or str(REHEARSE)
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{FRACTION_VARIABLE} is {text!r}; it must be a number from 0 (no rehearsals) to 1")
    return value


class Rehearser:
    """Used by `ShardLoop` around each shard, in the worker and in the child process of a rehearsal.

    A device that a child process cannot use is rehearsed with in this process: the script then sees one batch of a
    rehearsed lease twice.

    Args:
        parameters: of the model.
        seed: of the run.
        share: the fraction of shards to rehearse after the first steps; 0 disables rehearsals.
    Attributes:
        in_child: whether this process is the child of a rehearsal.
        last_repetition: while rehearsing, whether the next loss is the result.
    """

    def __init__(self, parameters: Parameters, seed: int, share: float) -> None:
        self._parameters = parameters
        self._plan = Plan(seed, share)
        self._names = [name for name, _, _ in parameters.specs()]
        self._sizes = [torch.Size(shape).numel() for _, _, shape in parameters.specs()]
        self._trace = OutputTrace(parameters.model) if os.environ.get(DOCTOR_VARIABLE) == "1" else None
        self._current: Rehearsal | None = None
        self._leases = 0
        self.in_child = False
        self._is_here = False  # whether this process rehearses, instead of a child
        self.last_repetition = False

    @property
    def doctor_has_finished(self) -> bool:
        """Whether this is `pangea doctor SCRIPT`, and it has checked enough leases without a finding."""
        return self._trace is not None and self._leases > DOCTOR_LEASES

    @property
    def is_rehearsing(self) -> bool:
        """Whether the current batch is computed for a rehearsal only."""
        return self.in_child or self._is_here

    @property
    def in_first_steps(self) -> bool:
        """Whether this worker computes one of its first leases."""
        return self._leases <= FIRST_STEPS

    def should_rehearse(self, lease: Lease) -> bool:
        """Returns whether to rehearse a lease. Call it exactly once for each lease."""
        self._leases += 1
        return self._plan.should_rehearse(lease.step, len(lease.shards))

    def would_rehearse(self, step: int, shards: int) -> bool:
        """Returns whether the next lease will be rehearsed, if it has that many shards of the step."""
        return self._plan.would_rehearse(step, shards)

    def fork(self, lease: Lease, batches: list[Batch]) -> Target | None:
        """Forks the child. Returns what this process has to compute before the lease: in the child; else None."""
        filled = [batch for batch in batches if batch.samples > 0]
        if not filled:
            return None
        target = Target(filled[-1], 1 if len(filled) > 1 else 2)
        self._current = Rehearsal(lease.step, target.batch.shard, self._names, self._trace)
        if not self._parameters.device.forks:
            self._is_here = True
            # If the lease has no other shard, it is computed a second time afterwards.
            return Target(target.batch, 1)
        try:
            self.in_child = self._current.fork()
        except OSError:
            # Too little memory, or too many processes: training itself may still work.
            self._current = None
        return target if self.in_child else None

    def _is_target(self, batch: Batch) -> bool:
        return self._current is not None and (self._current.step, self._current.shard) == (batch.step, batch.shard)

    def begin_shard(self, batch: Batch) -> None:
        """Call this before the script gets a batch. Starts the trace if it is the rehearsed one."""
        if self._trace is not None and self._is_target(batch):
            self._trace.start()

    def _traced(self) -> list[tuple[str, str, str]]:
        if self._trace is None:
            return []
        self._trace.stop()
        return self._trace.entries

    def end_forward(self) -> None:
        """Ends the trace of the modules before backward, in which checkpointing calls some of them again."""
        if self._trace is not None:
            self._trace.stop()

    def cannot_differentiate(self, error: RuntimeError) -> bool:
        """Returns whether backward failed only because this is a child process; then losses alone are compared."""
        return self.in_child and "fork-based multiprocessing" in str(error)

    def take_rehearsed(self, loss: float, total: GradientSum | None) -> bool:
        """While rehearsing, takes the result of a batch and returns true; else returns false.

        In a child, the last repetition sends the result and exits.

        Args:
            loss: of the batch.
            total: the contribution of the shard; None if it could not be computed.
        """
        if not self.is_rehearsing or self._current is None:
            return False
        outputs = self._traced()
        if self.last_repetition:
            parts = None if total is None else digests(total.flat(), self._sizes)
            result = Result(loss.hex(), parts, outputs)
            if self.in_child:
                self._current.send_result(result)
            self._current.set_rehearsed(result)
            self._is_here = False
        return True

    def note_result(self, batch: Batch, loss: float, total: GradientSum) -> None:
        """Records the result of the rehearsed shard."""
        if self._current is not None and self._is_target(batch):
            self._current.set_expected(Result(loss.hex(), digests(total.flat(), self._sizes), self._traced()))

    def compare(self) -> str | None:
        """Compares the results. Returns why the rehearsal was inconclusive, or None if the results are equal.

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
        """Ends all rehearsals, because their finding is reported and tolerated."""
        self._plan = Plan(0, 0.0)

    def abandon(self) -> None:
        """Kills the child, if the lease was not finished."""
        self._is_here = False
        if self._current is not None and not self.in_child:
            self._current.abandon()
            self._current = None

    def fail_child(self, reason: str) -> None:
        """In the child, exits without a result; in the parent, does nothing."""
        if self.in_child and self._current is not None:
            self._current.fail(reason)
