"""What a build event file says about where actions ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REMOTE_HIT = "remote cache hit"
# Not actions that a cache could serve: the sum, and what Bazel does within itself (links, file texts, middlemen).
_NOT_RUN = {"total", "internal"}


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

    @property
    def run_here(self) -> int:
        return sum(self.local.values())

    @property
    def share(self) -> float:
        """Part of the actions that the remote cache served, from 0 to 1; 0 for a build without actions."""
        actions = self.hits + self.run_here
        return self.hits / actions if actions else 0.0


def read_figures(events: Path) -> Figures:
    """Figures of a build event file (--build_event_json_file).

    Raises:
        ValueError: the file holds no metrics; the build was cut off.
    """
    for line in events.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if "buildMetrics" in event:
            metrics = event["buildMetrics"]
            counts = {runner["name"]: int(runner["count"]) for runner in metrics["actionSummary"].get("runnerCount", [])}
            seconds = int(metrics["timingMetrics"]["wallTimeInMs"]) / 1000
            local = {name: count for name, count in counts.items() if name not in _NOT_RUN and name != REMOTE_HIT}
            return Figures(counts.get(REMOTE_HIT, 0), local, seconds)
    raise ValueError(f"{events} has no buildMetrics event: the build did not come to its end")
