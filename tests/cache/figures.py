"""Where the actions of a build ran, as the remote cache sees it."""

from __future__ import annotations

from dataclasses import dataclass

from tools.report.events import BuildRecord

REMOTE_HIT = "remote cache hit"


@dataclass(frozen=True)
class Figures:
    """Actions of one build by who made their results.

    Attributes:
        hits: came from the remote cache.
        local: were run here, or came from another cache than the one that is looked at; by Bazel's name for the runner.
        seconds: of wall time.
    """

    hits: int
    local: dict[str, int]
    seconds: float

    @classmethod
    def of(cls, record: BuildRecord) -> Figures:
        """Of what Bazel has recorded."""
        return cls(record.actions.get(REMOTE_HIT, 0), {name: count for name, count in record.actions.items() if name != REMOTE_HIT}, record.seconds)

    @property
    def run_here(self) -> int:
        return sum(self.local.values())

    @property
    def share(self) -> float:
        """Part of the actions that the remote cache served, from 0 to 1; 0 for a build without actions."""
        actions = self.hits + self.run_here
        return self.hits / actions if actions else 0.0
