"""Where the actions of a build ran: how many the remote cache saved."""

from __future__ import annotations

from dataclasses import dataclass

from tools.report.events import BuildRecord

REMOTE_HIT = "remote cache hit"


@dataclass(frozen=True)
class Figures:
    """The actions of one build, by where their results are from.

    Attributes:
        hits: number of results from the remote cache.
        local: number of actions that ran here or were served by another cache, by Bazel's name for the runner.
        seconds: wall time of the build.
    """

    hits: int
    local: dict[str, int]
    seconds: float

    @classmethod
    def of(cls, record: BuildRecord) -> Figures:
        """The figures of a recorded build."""
        return cls(
            record.actions.get(REMOTE_HIT, 0),
            {name: count for name, count in record.actions.items() if name != REMOTE_HIT},
            record.seconds,
        )

    @property
    def run_here(self) -> int:
        return sum(self.local.values())

    @property
    def share(self) -> float:
        """The share of actions that the remote cache served, from 0 to 1; 0 for a build without actions."""
        actions = self.hits + self.run_here
        return self.hits / actions if actions else 0.0
