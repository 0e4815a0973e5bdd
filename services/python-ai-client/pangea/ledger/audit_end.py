"""How far a run goes: its epochs, what ended it before its last step, what a person changed, and whether it finished where it had to."""

from __future__ import annotations

from pangea.ledger.audit_finding import Finding
from pangea.ledger.reader import Change, Entry, Finished, Hash, Stop


class RunEnd:
    """Looks at the records that move the end of a run.

    Attributes:
        epochs: that the run has by now.
        epoch_steps: steps of one of them; 0 until the model is known.
        stop: what ends the run before its last step; None where nothing does.
        finished: the record of the end; None where the run goes on.
        changes: in their order.
        hashes: of the parameters, by the number of steps after which the run finished; more than one where it was taken up again.
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
        """Of all epochs."""
        return self.epochs * self.epoch_steps

    @property
    def steps(self) -> int:
        """After which the run ends."""
        return self.stop.steps if self.stop is not None else self.total_steps

    def on_step(self, entry: Entry, number: int) -> None:
        """A step is closed."""
        if self.finished is not None:
            self._finding.refute(f"step {number} comes after the end of the run", entry)
        elif self.stop is not None and number >= self.stop.steps:
            self._finding.refute(f"step {number} comes, but the run was stopped after {self.stop.steps} steps", entry)

    def on_stop(self, entry: Entry, stop: Stop, steps: int) -> None:
        """A script ends the run: with the last step in the ledger, or with the one that is being closed."""
        if self.finished is not None or (self.stop is not None and self.stop.steps != stop.steps):
            self._finding.refute(f"the run is stopped after {stop.steps} steps, but it has ended after {self.steps}", entry)
            return
        if stop.steps not in (steps, steps + 1) or stop.steps > self.total_steps:
            self._finding.refute(f"the run is stopped after {stop.steps} steps, where the ledger has {steps} of {self.total_steps}", entry)
        self.stop = self.stop or stop

    def on_change(self, entry: Entry, change: Change, steps: int) -> None:
        """A setting changes. What moves the end takes the run up again."""
        self.changes.append(change)
        if change.step != steps:
            self._finding.refute(f"the change of {change.what} is for the steps from {change.step} on, where the ledger has {steps}", entry)
        if change.what == "epochs":
            self._on_epochs(entry, change)
        elif change.what == "stop":
            if self.stop is None:
                self._finding.refute("a stop is taken back where there is none", entry)
            self.stop = self.finished = None

    def _on_epochs(self, entry: Entry, change: Change) -> None:
        if change.old != str(self.epochs) or not change.new.isdecimal() or int(change.new) <= self.epochs:
            self._finding.refute(f"the epochs change from {change.old!r} to {change.new!r}, where the run has {self.epochs} and can only get more", entry)
            return
        self.epochs = int(change.new)
        if self.stop is None:
            self.finished = None

    def on_finished(self, entry: Entry, finished: Finished, steps: int) -> None:
        """The run has ended."""
        if self.finished is not None:
            self._finding.refute("the run finishes a second time", entry)
            return
        self.finished = finished
        self.hashes[finished.steps] = finished.params_hash
        if not finished.steps == steps == self.steps or self.total_steps == 0:
            self._finding.refute(f"the run finished after {finished.steps} steps; the ledger has {steps} of {self.steps}", entry)
