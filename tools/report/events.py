"""Reads the results of a build from Bazel's record of its events, the file of --build_event_json_file. CI does so on the machine's own python3: standard library only, Python 3.9."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


class EventsError(Exception):
    """A record is incomplete; the message names it."""


@dataclass(frozen=True)
class BuildRecord:
    """Where a build's results came from.

    Attributes:
        runners: number of actions by what ran them; a `... cache hit` ran nothing. `total` and `internal` (links, text files) are Bazel's own counts.
        seconds: wall time.
        passed_tests, failed_tests: test targets.
    """

    runners: dict[str, int]
    seconds: float
    passed_tests: int
    failed_tests: int

    @property
    def actions(self) -> dict[str, int]:
        """The counts of actions that a cache could have served."""
        return {name: count for name, count in self.runners.items() if name not in ("total", "internal")}

    @property
    def cached(self) -> int:
        """The number of actions whose results came from a disk or remote cache."""
        return sum(count for name, count in self.actions.items() if name.endswith("cache hit"))

    @property
    def share(self) -> float | None:
        """The cached actions as a fraction of those that a cache could serve; None if there was nothing to do."""
        able = sum(self.actions.values())
        return self.cached / able if able else None


def read_record(events: Path) -> BuildRecord:
    """Reads a record.

    Raises:
        EventsError: the build was interrupted, or the file is not such a record.
    """
    metrics = None
    results: Counter[bool] = Counter()
    for number, line in enumerate(events.read_text().splitlines(), 1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise EventsError(
                f"line {number} of {events} is not an event ({error}); is it a --build_event_json_file, and did its build finish?"
            ) from error
        metrics = event.get("buildMetrics", metrics)
        if "testSummary" in event:
            results[event["testSummary"].get("overallStatus") == "PASSED"] += 1
    if metrics is None:
        raise EventsError(
            f"{events} has no metrics: that build did not finish, or the file is not a --build_event_json_file"
        )
    runners = {entry["name"]: int(entry["count"]) for entry in metrics["actionSummary"].get("runnerCount", [])}
    return BuildRecord(runners, int(metrics["timingMetrics"]["wallTimeInMs"]) / 1000, results[True], results[False])
