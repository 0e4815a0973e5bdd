"""Checks the records of a ledger, one after the other: the promises that follow from each record and those before it.

The rules follow docs/reference/ledger.md and schemas/tensor.capnp, and share no code with the orchestrator.
"""

from __future__ import annotations

from pangea.contract import MAX_SHARDS
from pangea.ledger.audit_end import RunEnd
from pangea.ledger.audit_finding import Finding, Hashes
from pangea.ledger.audit_incidents import Incidents
from pangea.ledger.audit_samples import Cut, SampleCount
from pangea.ledger.audit_step import check_losses, check_shards, check_weights
from pangea.ledger.checkpoint_file import checkpoint_name, is_valid_name
from pangea.ledger.reader import Entry
from pangea.ledger.records import (
    FORMAT,
    FORMATS,
    Change,
    Checkpoint,
    Finished,
    Hash,
    Incident,
    Model,
    Settings,
    Start,
    Step,
    Stop,
    Worker,
)
from pangea.printable import quoted

# The promises, in the order of the report.
PROMISES = {
    "chain": "the chain of hashes is intact, and contains all committed records",
    "begin": "the settings are the first record, and the model comes before the first step",
    "steps": "the steps are consecutive, without gaps or repetitions, each at its place in its epoch",
    "shards": "each (step, shard) is in its sum exactly once",
    "samples": "each sample of each epoch is counted exactly once",
    "weights": "summed in the fixed tree, the weights of the shards are the divisors of the steps",
    "losses": "summed in the fixed tree, the losses of the shards are the losses of the steps",
    "workers": "all contributions are from workers that had joined",
    "parameters": "all hashes of the same parameters agree",
    "end": "the run finished after all its steps, or where its script stopped it",
}


class Audit:
    """Checks the records of a ledger one by one, and keeps what other checks need to know about the run.

    Attributes:
        findings: by promise.
        aggregates: the hash of each step's aggregate.
        parameters: the hash of the parameters before each step.
        settings, model: these records; None until they are read.
        cut: how epochs are cut into steps and shards; None until the model is known.
        end: where the run ends.
        incidents: all incidents, and which of them are resolved.
        checkpoints: all checkpoint records.
        counts: the number of records by type.
        weight: the sum of the weights of all shards.
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
        self._unsettled: list[tuple[Entry, Checkpoint]] = []

    @property
    def steps(self) -> int:
        """The number of steps in the ledger."""
        return len(self.aggregates)

    @property
    def samples(self) -> int:
        """The number of samples in all steps."""
        return self._count.counted

    @property
    def finished(self) -> Finished | None:
        """The record of the run's end; None while it has not ended."""
        return self.end.finished

    @property
    def epochs_ended(self) -> int:
        """The number of epochs whose steps are all in the ledger."""
        return self.steps // self.cut.steps if self.cut is not None else 0

    def observe(self, entry: Entry) -> None:
        """Checks the next record."""
        record = entry.record
        name = type(record).__name__.lower()
        self.counts[name] = self.counts.get(name, 0) + 1
        if (entry.number == 0) != isinstance(record, Settings):
            missing, repeated = "the first record is not the settings", "the settings are recorded a second time"
            self._refute("begin", missing if entry.number == 0 else repeated, entry)
        match record:
            case Settings():
                self._on_settings(entry, record)
            case Model():
                self._on_model(entry, record)
            case Start(step=step):
                if step != self.steps:
                    self._refute(
                        "steps", f"the orchestrator started with {step} steps, but the ledger has {self.steps}", entry
                    )
            case Worker():
                self._on_worker(entry, record)
            case Step():
                self._on_step(entry, record)
            case Checkpoint():
                self._on_checkpoint(entry, record)
            case Incident():
                self.incidents.observe(entry, record, self.settings.format if self.settings is not None else FORMAT)
            case Stop():
                self.end.on_stop(entry, record, self.steps)
            case Change():
                self.end.on_change(entry, record, self.steps)
            case Finished():
                self._on_finished(entry, record)

    def parameters_after(self, steps: int) -> Hash | None:
        """The hash of the run's parameters after `steps` steps; None if the ledger does not have it (yet)."""
        if steps < len(self.parameters):
            return self.parameters[steps]
        if steps in self.end.hashes:
            return self.end.hashes[steps]
        return self.model.params_hash if steps == 0 and self.model is not None else None

    def _refute(self, promise: str, detail: str, entry: Entry | None = None) -> None:
        self.findings[promise].refute(detail, entry)

    def _on_settings(self, entry: Entry, settings: Settings) -> None:
        if settings.format not in FORMATS:
            self._refute(
                "begin",
                f"the ledger has format {settings.format}; this release knows {FORMATS[0]} to {FORMATS[-1]}",
                entry,
            )
        shards = settings.shards
        if not 1 <= shards <= MAX_SHARDS or shards & (shards - 1) or not settings.batch_size or not settings.epochs:
            self._refute(
                "begin",
                f"{settings.shards} shards, batches of {settings.batch_size} and {settings.epochs} epochs are not valid"
                " settings",
                entry,
            )
        elif self.settings is None:
            self.settings = settings
            self.end.epochs = settings.epochs

    def _on_model(self, entry: Entry, model: Model) -> None:
        if self.model is not None or self.settings is None:
            reason = "a second time" if self.model is not None else "without valid settings before it"
            self._refute("begin", f"the model is recorded {reason}", entry)
            return
        samples, epochs = model.dataset.train_samples, self.end.epochs
        cut = Cut.of(self.settings, samples)
        if not cut.steps or (model.epoch_steps, model.total_steps) != (cut.steps, cut.steps * epochs):
            self._refute(
                "begin",
                f"{samples} samples in batches of {cut.batch_size} for {epochs} epochs are {cut.steps * epochs} steps,"
                f" {cut.steps} per epoch; the model record has {model.total_steps} and {model.epoch_steps}",
                entry,
            )
            if not cut.steps:
                return
        self.model, self.cut = model, cut
        self.end.epoch_steps = cut.steps
        if cut.used < samples:
            self.findings["samples"].sentence = (
                f"each sample of each epoch is counted exactly once, except the last {samples - cut.used} in the order"
                " of the epoch, which are left out"
            )

    def _on_worker(self, entry: Entry, worker: Worker) -> None:
        if worker.id in self._workers:
            self._refute("workers", f"worker {worker.id} joins a second time", entry)
        if worker.step > self.steps:
            self._refute(
                "workers", f"worker {worker.id} has applied {worker.step} steps, but the ledger has {self.steps}", entry
            )
        self._workers.add(worker.id)

    def _on_step(self, entry: Entry, step: Step) -> None:
        settings, cut = self.settings, self.cut
        if settings is None or cut is None:
            self._refute("begin", f"step {step.step} is recorded before the settings and the model", entry)
            return

        def refute(promise: str, detail: str) -> None:
            self._refute(promise, detail, entry)

        self.incidents.close_step()
        self._check_number(entry, step, cut)
        check_shards(refute, step, settings.shards, self._workers)
        self._count.observe(entry, step, cut)
        self.weight += check_weights(refute, step, settings.format)
        check_losses(refute, step)
        expected = self.parameters_after(self.steps)
        if expected is not None and step.params_hash != expected:
            self._refute(
                "parameters",
                f"step {step.step} began with parameters {step.params_hash}, but the run had {expected}",
                entry,
            )
        self.aggregates.append(step.aggregate_hash)
        self.parameters.append(step.params_hash)
        self._settle_checkpoints()

    def _check_number(self, entry: Entry, step: Step, cut: Cut) -> None:
        if step.step != self._next_step:
            ahead = step.step > self._next_step
            reason = f"{_steps(self._next_step, step.step)} missing" if ahead else "it is repeated or out of order"
            self._refute(
                "steps", f"step {step.step} is recorded where step {self._next_step} is expected; {reason}", entry
            )
        self._next_step = step.step + 1
        place = divmod(step.step, cut.steps)
        if place != (step.epoch, step.epoch_step):
            self._refute(
                "steps",
                f"step {step.step} is step {place[1]} of epoch {place[0]}, but its record has step {step.epoch_step} of"
                f" epoch {step.epoch}",
                entry,
            )
        if step.epoch >= self.end.epochs:
            self._refute(
                "steps",
                f"step {step.step} is of epoch {step.epoch}, but the run has {self.end.epochs} epochs, from 0",
                entry,
            )
        self.end.on_step(entry, step.step)

    def _on_checkpoint(self, entry: Entry, checkpoint: Checkpoint) -> None:
        if self.model is None or checkpoint.step > self.steps:
            self._refute(
                "parameters",
                f"the checkpoint {quoted(checkpoint.file)} is of step {checkpoint.step}, but the ledger has"
                f" {self.steps} steps",
                entry,
            )
            return
        if not is_valid_name(checkpoint):
            self._refute(
                "parameters",
                f"the checkpoint of step {checkpoint.step} has the file {quoted(checkpoint.file)} instead of"
                f" {checkpoint_name(checkpoint.step)}",
                entry,
            )
            return
        self.checkpoints.append(checkpoint)
        self._unsettled.append((entry, checkpoint))
        self._settle_checkpoints()

    def _settle_checkpoints(self) -> None:
        """Compares the hashes of checkpoints with the ledger's for the same step, as far as they are known by now."""
        pending = []
        for entry, checkpoint in self._unsettled:
            known = self.parameters_after(checkpoint.step)
            if known is None:
                pending.append((entry, checkpoint))
            elif known != checkpoint.params_hash:
                self._refute(
                    "parameters",
                    f"the checkpoint {checkpoint.file} has parameters {checkpoint.params_hash}, but the run had {known}"
                    f" after {checkpoint.step} steps",
                    entry,
                )
        self._unsettled = pending

    def _on_finished(self, entry: Entry, finished: Finished) -> None:
        self.incidents.close_step()
        self.end.on_finished(entry, finished, self.steps)
        if self.cut is not None and self.steps and self.end.steps == self.end.total_steps:
            self._count.end_epoch(entry, self.cut)
        self._settle_checkpoints()


def _steps(start: int, end: int) -> str:
    return f"step {start} is" if end - start == 1 else f"steps {start} to {end - 1} are"
