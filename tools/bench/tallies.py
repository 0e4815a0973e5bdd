"""Helpers for the tests of this folder: a benchmark that counts instead of measuring, and a machine to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.benchmark import Goal, Pair, Sample

MACHINE = {
    "time": "2026-01-02T03:04:05Z",
    "processor": "Some processor",
    "vector_instructions": "AVX2",
    "cores": 2,
    "memory_kib": 8 << 20,
    "load": 0.5,
    "versions": {"torch": "2.6.0"},
    "commit": "0123456789ab",
}


@dataclass
class Tally:
    """Returns the prepared samples of each contender in order, and records which contender was asked."""

    given: dict[str, list[Sample]]
    more_is_better: bool = True
    tolerance: float = 0.01
    name: str = "tally"
    measures: str = "Nothing."
    unit: str = "steps/s"
    goal: Goal | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def contenders(self) -> Sequence[str]:
        """The contenders that have samples."""
        return list(self.given)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The first contender paired with each of the others."""
        first, *others = self.given
        return [Pair(first, other, self.goal) for other in others]

    def run(self, contender: str, folder: Path) -> Sample:
        """The next sample of a contender."""
        assert list(folder.iterdir()) == [], "a turn begins with an empty folder"
        (folder / "left").write_text("by an earlier turn")
        self.asked.append(contender)
        return self.given[contender][self.asked.count(contender) - 1]


def samples(*values: float, work: int = 10, outcome: float = 1.0) -> list[Sample]:
    """One a value."""
    return [Sample(value, work, outcome, {"ms": 1000 / value}) for value in values]
