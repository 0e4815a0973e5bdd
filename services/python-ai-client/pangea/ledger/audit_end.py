"""The end of a run: its number of epochs, stops, changes of settings, and whether it finished where it should."""

from __future__ import annotations

import re

from pangea.ledger.audit_finding import Finding
from pangea.ledger.reader import Entry
from pangea.ledger.records import Change, Finished, Hash, Stop
from pangea.printable import quoted

# A uint64 has at most 20 digits.
_COUNT = re.compile(r"[0-9]{1,20}", re.ASCII)


class RunEnd:
    """Checks the records that determine the end of a run.

    Attributes:
        epochs: the number of epochs as of the last record.
        epoch_steps: steps per epoch; 0 until the model is known.
        stop: the record of an early stop; None without one.
        finished: the record of the end; None while the run has not ended.
        changes: the changes of settings, in order.
        hashes: the hash of the parameters by the number of steps after which the run finished; several if it was
            continued after that.
    """

    def __init__(self, finding: Finding) -> None:
        self._finding = finding
        self.epochs = self.epoch_steps = 0
        self.stop: Stop | None = None
        self.finished: Finished | None = None
        self.changes: list[Change] = []
        self.hashes: dict[int, Hash] = {}

    @property
    def total_steps(self) -> int:
        """The steps of all epochs."""
        return self.epochs * self.epoch_steps

    @property
    def steps(self) -> int:
        """The number of steps after which the run ends."""
        return self.stop.steps if self.stop is not None else self.total_steps

    def on_step(self, entry: Entry, number: int) -> None:
        """Checks that the step with this number is not after the end."""
        if self.finished is not None:
            self._finding.refute(f"step {number} is recorded after the end of the run", entry)
        elif self.stop is not None and number >= self.stop.steps:
            self._finding.refute(
                f"step {number} is recorded, but the run was stopped after {self.stop.steps} steps", entry
            )

    def on_stop(self, entry: Entry, stop: Stop, steps: int) -> None:
        """Checks a stop by the script: it takes effect after the last step in the ledger, or after the open step."""
        if self.finished is not None or (self.stop is not None and self.stop.steps != stop.steps):
            self._finding.refute(
                f"the run is stopped after {stop.steps} steps, but it already ended after {self.steps}", entry
            )
            return
        if stop.steps not in (steps, steps + 1) or stop.steps > self.total_steps:
            self._finding.refute(
                f"the run is stopped after {stop.steps} steps, but the ledger has {steps} of {self.total_steps}", entry
            )
        self.stop = self.stop or stop

    def on_change(self, entry: Entry, change: Change, steps: int) -> None:
        """Checks a change of a setting; a change that moves the end lets a finished run continue."""
        self.changes.append(change)
        if change.step != steps:
            self._finding.refute(
                f"the change of {quoted(change.what)} is for the steps from {change.step} on, but the ledger has"
                f" {steps}",
                entry,
            )
        if change.what == "epochs":
            self._on_epochs(entry, change)
        elif change.what == "stop":
            if self.stop is None:
                self._finding.refute("a stop is revoked, but there is none", entry)
            self.stop = self.finished = None

    def _on_epochs(self, entry: Entry, change: Change) -> None:
        new = int(change.new) if _COUNT.fullmatch(change.new) else 0
        if change.old != str(self.epochs) or new <= self.epochs:
            self._finding.refute(
                f"the epochs change from {quoted(change.old)} to {quoted(change.new)}, but the run has"
                f" {self.epochs}, and they can only be increased",
                entry,
            )
            return
        self.epochs = new
        if self.stop is None:
            self.finished = None

    def on_finished(self, entry: Entry, finished: Finished, steps: int) -> None:
        """Checks that the run finished where it should."""
        if self.finished is not None:
            self._finding.refute("the run finishes a second time", entry)
            return
        self.finished = finished
        self.hashes[finished.steps] = finished.params_hash
        if not finished.steps == steps == self.steps or self.total_steps == 0:
            self._finding.refute(
                f"the run finished after {finished.steps} steps; the ledger has {steps} of {self.steps}", entry
            )
