"""What a benchmark is: one piece of work that several contenders do alternately, several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class Sample:
    """One measurement of one contender.

    Attributes:
        value: in the benchmark's unit.
        work: the amount of work done, such as samples trained or rows read: equal for all contenders, or they cannot be
            compared.
        outcome: a figure of the result, such as the mean loss: equal within the benchmark's tolerance.
        details: further figures, by name with unit, for the report.
        cores: processor time, user and system, of each kind of process such as "workers", in core-milliseconds of one
            step, exchange, job or thousand rows; empty if it was not measured. It counts only what a contender uses, so
            it holds on a machine with other load.
        settings: what could explain a difference, by name: allocator, transport, content hash.
    """

    value: float
    work: int
    outcome: float
    details: Mapping[str, float] = field(default_factory=dict)
    cores: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """What a comparison should reach. The report says whether it did; nothing fails if not.

    Attributes:
        limit: the least ratio, or the greatest difference.
        figure: "ratio", of the speeds; or "difference", ours minus the peer in the benchmark's unit.
    """

    limit: float
    figure: Literal["ratio", "difference"] = "ratio"

    def reached(self, median: float) -> bool:
        """Whether the median of the figure over the rounds is good enough."""
        return median >= self.limit if self.figure == "ratio" else median <= self.limit


@dataclass(frozen=True)
class Pair:
    """Two contenders whose speeds are compared as a ratio."""

    ours: str
    peer: str
    goal: Goal | None = None


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
