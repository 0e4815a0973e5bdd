"""Proves from a ledger alone that a run kept its promises, or names the records that refute it.

The rules here follow from docs/reference/ledger.md and the contract (schemas/tensor.capnp); none of the orchestrator's code is behind them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pangea.ledger import reader as ledger
from pangea.ledger.audit_end import RunEnd
from pangea.ledger.audit_finding import Finding, Hashes, Row, tree_sum
from pangea.ledger.audit_incidents import Incidents
from pangea.ledger.audit_samples import Cut, SampleCount
from pangea.ledger.reader import Change, Checkpoint, Entry, Finished, Hash, Incident, LedgerDamaged, Model, Settings, Start, Step, Stop, Worker

__all__ = ["PROMISES", "Audit", "Finding", "Report", "Row", "audit_ledger", "tree_sum"]

# What is promised, in the order of the report.
PROMISES = {
    "chain": "the records are chained by hashes, and all that were committed are there",
    "begin": "the settings come first, and the model before the first step",
    "steps": "the steps follow each other without a gap, each once, each at its place in its epoch",
    "shards": "each (step, shard) is in its sum exactly once",
    "samples": "each sample of each epoch is counted exactly once",
    "weights": "the weights of the shards add up to the divisors of the steps in the fixed tree",
    "losses": "the losses of the shards add up to those of the steps in the fixed tree",
    "workers": "what was added up came from workers that had joined",
    "parameters": "the hashes of the parameters agree wherever they are written",
    "end": "the run finished after all its steps, or after those that its script wanted",
}
# The contract allows no more shards in a step.
_MAX_SHARDS = 1024


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


class Audit:
    """Looks at one record after the other. What it learns of a run on the way is kept for other checks.

    Attributes:
        findings: by promise.
        aggregates, parameters: hash of each step's sum, and of the parameters before it.
        cut: of the run's epochs; None until the model is known.
        end: how far the run goes.
        weight: of all shards of all steps.
    """

    def __init__(self) -> None:
        self.findings = {promise: Finding(promise, sentence) for promise, sentence in PROMISES.items()}
        self.aggregates, self.parameters = Hashes(), Hashes()
        self.settings: Settings | None = None
        self.model: Model | None = None
        self.cut: Cut | None = None
        self.end = RunEnd(self.findings["end"])
        self.incidents = Incidents()
        self.checkpoints: list[Checkpoint] = []
        self.counts: dict[str, int] = {}
        self.weight = 0.0
        self._count = SampleCount(self.findings["samples"])
        self._workers: set[int] = set()
        self._next_step = 0
        self._awaited: list[tuple[Entry, Checkpoint]] = []

    @property
    def steps(self) -> int:
        """Steps in the ledger."""
        return len(self.aggregates)

    @property
    def samples(self) -> int:
        """Counted in all steps."""
        return self._count.counted

    @property
    def finished(self) -> Finished | None:
        """The record of the run's end; None where it goes on."""
        return self.end.finished

    @property
    def epochs_ended(self) -> int:
        """Epochs of which all steps are in the ledger."""
        return self.steps // self.cut.steps if self.cut is not None else 0

    def observe(self, entry: Entry) -> None:
        """Takes the next record."""
        record = entry.record
        name = type(record).__name__.lower()
        self.counts[name] = self.counts.get(name, 0) + 1
        if (entry.number == 0) != isinstance(record, Settings):
            self._refute("begin", "the first record is no settings" if entry.number == 0 else "the settings come a second time", entry)
        match record:
            case Settings():
                self._on_settings(entry, record)
            case Model():
                self._on_model(entry, record)
            case Start(step=step):
                if step != self.steps:
                    self._refute("steps", f"the orchestrator started with {step} steps, where the ledger has {self.steps}", entry)
            case Worker():
                self._on_worker(entry, record)
            case Step():
                self._on_step(entry, record)
            case Checkpoint():
                self._on_checkpoint(entry, record)
            case Incident():
                self.incidents.observe(entry, record, self.settings.format if self.settings is not None else ledger.FORMAT)
            case Stop():
                self.end.on_stop(entry, record, self.steps)
            case Change():
                self.end.on_change(entry, record, self.steps)
            case Finished():
                self._on_finished(entry, record)

    def parameters_after(self, steps: int) -> Hash | None:
        """Hash of the run's parameters after so many steps; None where the ledger does not say it (yet)."""
        if steps < len(self.parameters):
            return self.parameters[steps]
        if steps in self.end.hashes:
            return self.end.hashes[steps]
        return self.model.params_hash if steps == 0 and self.model is not None else None

    def _refute(self, promise: str, detail: str, entry: Entry | None = None) -> None:
        self.findings[promise].refute(detail, entry)

    def _on_settings(self, entry: Entry, settings: Settings) -> None:
        if settings.format not in ledger.FORMATS:
            self._refute("begin", f"the ledger has format {settings.format}; this release knows {' and '.join(map(str, ledger.FORMATS))}", entry)
        shards = settings.shards
        if not 1 <= shards <= _MAX_SHARDS or shards & (shards - 1) or not settings.batch_size or not settings.epochs:
            self._refute("begin", f"{settings.shards} shards, batches of {settings.batch_size} and {settings.epochs} epochs are no settings of a run", entry)
        elif self.settings is None:
            self.settings = settings
            self.end.epochs = settings.epochs

    def _on_model(self, entry: Entry, model: Model) -> None:
        if self.model is not None or self.settings is None:
            self._refute("begin", "the model comes a second time" if self.model is not None else "the model comes without valid settings before it", entry)
            return
        samples, epochs = model.dataset.train_samples, self.end.epochs
        cut = Cut.of(self.settings, samples)
        if not cut.steps or (model.epoch_steps, model.total_steps) != (cut.steps, cut.steps * epochs):
            self._refute(
                "begin",
                f"{samples} samples in batches of {cut.batch_size} for {epochs} epochs are {cut.steps * epochs} steps, {cut.steps} an epoch; "
                f"the model record has {model.total_steps} and {model.epoch_steps}",
                entry,
            )
            if not cut.steps:
                return
        self.model, self.cut = model, cut
        self.end.epoch_steps = cut.steps
        if cut.used < samples:
            self.findings["samples"].sentence = f"each sample of each epoch is counted at most once, and all but the last {samples - cut.used} of its order are"

    def _on_worker(self, entry: Entry, worker: Worker) -> None:
        if worker.id in self._workers:
            self._refute("workers", f"worker {worker.id} joins a second time", entry)
        if worker.step > self.steps:
            self._refute("workers", f"worker {worker.id} holds {worker.step} steps, where the ledger has {self.steps}", entry)
        self._workers.add(worker.id)

    def _on_step(self, entry: Entry, step: Step) -> None:
        settings, cut = self.settings, self.cut
        if settings is None or cut is None:
            self._refute("begin", f"step {step.step} comes before the settings and the model", entry)
            return
        self.incidents.close_step()
        self._check_number(entry, step, cut)
        self._check_shards(entry, step, settings.shards)
        self._count.observe(entry, step, cut)
        self._check_weights(entry, step, settings.format)
        self._check_losses(entry, step)
        expected = self.parameters_after(self.steps)
        if expected is not None and step.params_hash != expected:
            self._refute("parameters", f"step {step.step} began with parameters {step.params_hash}, where the run had {expected}", entry)
        self.aggregates.append(step.aggregate_hash)
        self.parameters.append(step.params_hash)
        self._settle_checkpoints()

    def _check_number(self, entry: Entry, step: Step, cut: Cut) -> None:
        if step.step != self._next_step:
            said = f"step {step.step} comes where step {self._next_step} has to be"
            missing = f"; {_range('step', self._next_step, step.step)} missing" if step.step > self._next_step else "; it is there already, or comes too late"
            self._refute("steps", said + missing, entry)
        self._next_step = step.step + 1
        place = divmod(step.step, cut.steps)
        if place != (step.epoch, step.epoch_step):
            self._refute("steps", f"step {step.step} is step {place[1]} of epoch {place[0]}, but its record has step {step.epoch_step} of epoch {step.epoch}", entry)
        if step.epoch >= self.end.epochs:
            self._refute("steps", f"step {step.step} is of epoch {step.epoch}, where the run has {self.end.epochs}", entry)
        self.end.on_step(entry, step.step)

    def _check_shards(self, entry: Entry, step: Step, shards: int) -> None:
        seen: dict[int, int] = {}
        for part in step.contributions:
            first, count = part.first, part.count
            if not count or count & (count - 1) or first % count or first + count > shards:
                self._refute("shards", f"step {step.step}: the shards [{first}, {first + count}) of worker {part.worker} are no node of the tree over {shards}", entry)
            if [shard.shard for shard in part.shards] != list(range(first, first + count)):
                self._refute(
                    "shards", f"step {step.step}: the sum over the shards [{first}, {first + count}) of worker {part.worker} lists {[shard.shard for shard in part.shards]}", entry
                )
            if part.worker not in self._workers:
                self._refute("workers", f"step {step.step}: worker {part.worker}, which sent the shards [{first}, {first + count}), has not joined", entry)
            for shard in part.shards:
                seen[shard.shard] = seen.get(shard.shard, 0) + 1
        for number in range(shards):
            if (times := seen.pop(number, 0)) != 1:
                self._refute("shards", f"step {step.step}: shard {number} is in the sum {times} times", entry)
        for number in seen:
            self._refute("shards", f"step {step.step}: there is no shard {number} in a step of {shards}", entry)

    def _check_weights(self, entry: Entry, step: Step, format_: int) -> None:
        shards = [shard for part in step.contributions for shard in part.shards]
        weights = []
        for shard in shards:
            weight, samples = shard.weight, shard.end - shard.start
            if weight is None:
                if format_ > 1:
                    self._refute("weights", f"step {step.step}: shard {shard.shard} has no weight", entry)
                weight = float(samples)
            if not 0 <= weight < math.inf:
                self._refute("weights", f"step {step.step}: shard {shard.shard} has the weight {weight}", entry)
            elif weight and not samples:
                self._refute("weights", f"step {step.step}: shard {shard.shard} has the weight {weight}, but no samples", entry)
            weights.append(weight)
        kinds = {shard.summed for shard in shards if shard.end > shard.start}
        if len(kinds) > 1:
            self._refute("weights", f"step {step.step}: the losses of some of its shards are sums, those of others means", entry)
        if not weights or len(weights) & (len(weights) - 1):
            return  # refuted above: not every shard is there once
        total = tree_sum(weights)
        self.weight += total
        wanted = 1.0 if True in kinds else total
        if step.divisor is None and format_ > 1:
            self._refute("weights", f"step {step.step} has no divisor", entry)
        elif not _same(found := float(step.samples) if step.divisor is None else step.divisor, wanted):
            self._refute("weights", f"step {step.step}: its divisor is {found!r}, that of its shards {wanted!r}", entry)

    def _check_losses(self, entry: Entry, step: Step) -> None:
        losses = [shard.loss_sum for part in step.contributions for shard in part.shards]
        if not losses or len(losses) & (len(losses) - 1):
            return  # refuted above: not every shard is there once
        total = tree_sum(losses)
        if not _same(total, step.loss_sum):
            self._refute("losses", f"step {step.step}: the losses of its shards add up to {total!r}, its record says {step.loss_sum!r}", entry)

    def _on_checkpoint(self, entry: Entry, checkpoint: Checkpoint) -> None:
        if self.model is None or checkpoint.step > self.steps:
            self._refute("parameters", f"the checkpoint {checkpoint.file} is of step {checkpoint.step}, where the ledger has {self.steps} steps", entry)
            return
        if checkpoint.file.startswith("/") or ".." in Path(checkpoint.file).parts:
            self._refute("parameters", f"the checkpoint {checkpoint.file} is not in the run directory", entry)
            return
        self.checkpoints.append(checkpoint)
        self._awaited.append((entry, checkpoint))
        self._settle_checkpoints()

    def _settle_checkpoints(self) -> None:
        """Compares the checkpoints' hashes with those that the ledger has of the same step by now."""
        left = []
        for entry, checkpoint in self._awaited:
            known = self.parameters_after(checkpoint.step)
            if known is None:
                left.append((entry, checkpoint))
            elif known != checkpoint.params_hash:
                self._refute("parameters", f"the checkpoint {checkpoint.file} has parameters {checkpoint.params_hash}, the run had {known} after {checkpoint.step} steps", entry)
        self._awaited = left

    def _on_finished(self, entry: Entry, finished: Finished) -> None:
        self.incidents.close_step()
        self.end.on_finished(entry, finished, self.steps)
        if self.cut is not None and self.steps and self.end.steps == self.end.total_steps:
            self._count.end_epoch(entry, self.cut)
        self._settle_checkpoints()


@dataclass(frozen=True)
class Report:
    """What an audit found. `head` is the chain hash of the last record: written down, it lets an older copy be told from the whole ledger later."""

    audit: Audit
    head: Hash
    records: int
    committed: int
    notes: list[str]
    expected: Finding | None

    @property
    def findings(self) -> list[Finding]:
        """All promises, and what refutes them."""
        return [*self.audit.findings.values(), *([self.expected] if self.expected is not None else [])]

    @property
    def holds(self) -> bool:
        """Whether nothing in the ledger refutes a promise. Different bits are in `audit.incidents`."""
        return all(finding.holds for finding in self.findings)


def audit_ledger(stream: BinaryIO, expect: Hash | None = None) -> Report:
    """Reads a ledger once, in memory that does not grow with its records but for 64 bytes a step.

    Args:
        stream: of the ledger's file, seekable.
        expect: the head that the ledger had once; the ledger has to hold it still.
    """
    audit = Audit()
    chain = audit.findings["chain"]
    notes: list[str] = []
    expected = Finding("expected", "the head that was written down is part of the chain") if expect is not None else None
    found = expect == ledger.NO_CHAIN
    reader: ledger.Reader | None = None
    try:
        reader = ledger.Reader(stream)
        for entry in reader:
            audit.observe(entry)
            found = found or entry.chain == expect
    except LedgerDamaged as error:
        chain.refutations += 1
        chain.rows.append(Row(f"{error}; the other promises are only looked at up to there", error.record, error.record + ledger.FIRST_LINE))
    if audit.settings is None and chain.holds and not audit.findings["begin"].refutations:
        audit.findings["begin"].refute("the ledger has no records: no run was begun")
    if expected is not None and not found:
        expected.refute(f"no record has the chain hash {expect}: the ledger is another one, or an older copy (a rollback)")
    if reader is not None:
        if reader.invalid_slots:
            notes.append(
                f"commit slot {reader.invalid_slots[0]} is not valid: a crash can leave it so until the next start. What the other slot names is whole; a record behind that could be gone unnoticed"
            )
        if reader.trailing_bytes:
            notes.append(f"{reader.trailing_bytes} bytes behind the last record are no whole record: a write that goes on, or that a crash cut off; nobody was told of it")
        if reader.records > reader.committed.records:
            notes.append(f"{reader.records - reader.committed.records} whole records behind the commit slot: the next start takes them over")
    return Report(audit, reader.head if reader else ledger.NO_CHAIN, reader.records if reader else 0, reader.committed.records if reader else 0, notes, expected)


def _range(what: str, start: int, end: int) -> str:
    return f"{what} {start} is" if end - start == 1 else f"{what}s {start} to {end - 1} are"
