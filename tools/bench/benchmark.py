"""What a benchmark is: one piece of work that several contenders do alternately, several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Sample:
    """One measurement of one contender.

    Attributes:
        value: in the benchmark's unit.
        work: the amount of work done, such as samples trained or rows read: equal for all contenders, or they cannot be compared.
        outcome: a figure of the result, such as the mean loss: equal within the benchmark's tolerance.
        details: further figures, by name with unit, for the report.
    """

    value: float
    work: int
    outcome: float
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two contenders whose speeds are compared as a ratio."""

    ours: str
    peer: str


class Benchmark(Protocol):
    """A measurement that can be repeated. `run` may be called any number of times, in any order."""

    @property
    def name(self) -> str:
        """One or two words; unique within the suite."""

    @property
    def measures(self) -> str:
        """A sentence for people: what is timed, from when to when, and who the contenders are."""

    @property
    def unit(self) -> str:
        """Of the values."""

    @property
    def more_is_better(self) -> bool:
        """Whether a higher value is a faster contender."""

    @property
    def contenders(self) -> Sequence[str]:
        """The names of the contenders, in the order in which they run."""

    @property
    def pairs(self) -> Sequence[Pair]:
        """The contenders that are compared."""

    @property
    def tolerance(self) -> float:
        """The allowed difference between the outcomes of a pair, relative to the larger one."""

    def run(self, contender: str, folder: Path) -> Sample:
        """Measures one contender once.

        Args:
            contender: one of `contenders`.
            folder: new and empty, on a real disk; its content is deleted afterwards.
        Raises:
            ChildFailed: a process of the contender failed; the message holds the end of its log.
        """
