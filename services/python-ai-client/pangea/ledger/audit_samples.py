"""The samples that a run has counted: how an epoch is cut, and whether each position is in exactly one shard."""

from __future__ import annotations

from dataclasses import dataclass

from pangea.ledger.audit_finding import Finding
from pangea.ledger.reader import Entry
from pangea.ledger.records import Settings, Step


@dataclass(frozen=True)
class Cut:
    """The cut of an epoch, with positions [0, samples) in its order, into steps, and of each step into shards."""

    samples: int
    batch_size: int
    shards: int
    min_shard_samples: int
    drop_last: bool

    @classmethod
    def of(cls, settings: Settings, samples: int) -> Cut:
        """The cut for a run with these settings over a dataset of `samples` training samples."""
        return cls(samples, settings.batch_size, settings.shards, settings.min_shard_samples, settings.drop_last)

    @property
    def steps(self) -> int:
        """The number of steps per epoch."""
        return self.samples // self.batch_size if self.drop_last else -(-self.samples // self.batch_size)

    @property
    def used(self) -> int:
        """The number of samples that an epoch uses: positions [used, samples) do not fill a step, and are left out."""
        return self.steps * self.batch_size if self.drop_last else self.samples

    def size(self, epoch_step: int) -> int:
        """The number of samples of a step of the epoch."""
        return max(0, min(self.batch_size, self.samples - epoch_step * self.batch_size))

    def groups(self, epoch_step: int) -> int:
        """The number of non-empty shards of a step.

        It is `shards`, halved while a shard would have fewer than `min_shard_samples` samples.
        """
        groups = self.shards
        while self.min_shard_samples > 1 and groups > 1 and self.size(epoch_step) // groups < self.min_shard_samples:
            groups //= 2
        return groups

    def shard(self, epoch_step: int, shard: int) -> tuple[int, int]:
        """The positions [start, end) of a shard.

        Of merged shards, the first has all positions and the others are empty, at its end.
        """
        first, size, groups = epoch_step * self.batch_size, self.size(epoch_step), self.groups(epoch_step)
        group, place = divmod(shard, self.shards // groups)
        end = first + size * (group + 1) // groups
        return (end if place else first + size * group // groups), end


class SampleCount:
    """Counts the samples of one step after the other.

    Attributes:
        counted: the number of samples in all steps so far.
    """

    def __init__(self, finding: Finding) -> None:
        self._finding = finding
        self.counted = 0
        self._epoch = 0
        # Positions [0, covered) of the epoch have been counted.
        self._covered = 0
        # Whether `end_epoch` was called for the epoch.
        self._ended = False

    def observe(self, entry: Entry, step: Step, cut: Cut) -> None:
        """Checks the next step."""
        if step.epoch != self._epoch:
            self.end_epoch(entry, cut)
            if step.epoch != self._epoch + 1:
                self._finding.refute(f"epoch {step.epoch} begins where epoch {self._epoch + 1} is expected", entry)
            self._epoch, self._covered, self._ended = step.epoch, 0, False
        counted = 0
        for part in step.contributions:
            for shard in part.shards:
                self._check_place(entry, step, shard.shard, (shard.start, shard.end), cut)
                self._covered = max(self._covered, shard.end)
                counted += shard.end - shard.start
        if self._covered > cut.used:
            self._finding.refute(
                f"epoch {step.epoch}: step {step.step} counts positions up to {self._covered}, but an epoch uses"
                f" {cut.used} samples",
                entry,
            )
        if counted != step.samples:
            self._finding.refute(
                f"step {step.step}: its shards have {counted} samples, but its record has {step.samples}", entry
            )
        self.counted += counted

    def _check_place(self, entry: Entry, step: Step, shard: int, found: tuple[int, int], cut: Cut) -> None:
        start, end = found
        wanted = cut.shard(step.epoch_step, shard)
        if found != wanted:
            self._finding.refute(
                f"step {step.step}: shard {shard} has the positions [{start}, {end}) instead of [{wanted[0]},"
                f" {wanted[1]})",
                entry,
            )
        if start > self._covered:
            self._finding.refute(
                f"epoch {step.epoch}: the positions [{self._covered}, {start}) are not counted before step {step.step},"
                f" shard {shard}",
                entry,
            )
        elif start < self._covered:
            self._finding.refute(
                f"epoch {step.epoch}: the positions [{start}, {min(self._covered, end)}) are counted again in step"
                f" {step.step}, shard {shard}",
                entry,
            )
        if end < start:
            self._finding.refute(f"step {step.step}: shard {shard} ends at {end} before it begins at {start}", entry)

    def end_epoch(self, entry: Entry, cut: Cut) -> None:
        """Refutes the promise if positions of the current epoch were not counted; only once per epoch."""
        if self._covered < cut.used and not self._ended:
            self._finding.refute(
                f"epoch {self._epoch}: the positions [{self._covered}, {cut.used}) are not counted", entry
            )
        self._ended = True
