"""What Bazel's record of a build's events says about its results: the file of --build_event_json_file. CI reads it on the machine's own python3: standard library only, Python 3.9."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


class EventsError(Exception):
    """A record is not whole; the message says which."""


@dataclass(frozen=True)
class BuildRecord:
    """Where a build's results came from.

    Attributes:
        runners: actions by what ran them; a `... cache hit` ran nothing. `total` and `internal` (links, texts of files) are Bazel's own count.
        seconds: of wall time.
        passed_tests, failed_tests: test targets.
    """

    runners: dict[str, int]
    seconds: float
    passed_tests: int
    failed_tests: int

    @property
    def actions(self) -> dict[str, int]:
        """The runners of actions that a cache could have served."""
        return {name: count for name, count in self.runners.items() if name not in ("total", "internal")}

    @property
    def cached(self) -> int:
        """Actions whose results came from a disk or remote cache."""
        return sum(count for name, count in self.actions.items() if name.endswith("cache hit"))

    @property
    def share(self) -> float | None:
        """That as a share of all that could have come from one; None if there was nothing to do."""
        able = sum(self.actions.values())
        return self.cached / able if able else None


def read_record(events: Path) -> BuildRecord:
    """Reads a record.

    Raises:
        EventsError: the build was cut off, or the file is no such record.
    """
    metrics = None
    results: Counter[bool] = Counter()
    for number, line in enumerate(events.read_text().splitlines(), 1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise EventsError(f"line {number} of {events} is no event ({error}); is it a --build_event_json_file, and did its build end?") from error
        metrics = event.get("buildMetrics", metrics)
        if "testSummary" in event:
            results[event["testSummary"].get("overallStatus") == "PASSED"] += 1
    if metrics is None:
        raise EventsError(f"{events} has no metrics: that build did not end, or the file is no --build_event_json_file")
    runners = {entry["name"]: int(entry["count"]) for entry in metrics["actionSummary"].get("runnerCount", [])}
    return BuildRecord(runners, int(metrics["timingMetrics"]["wallTimeInMs"]) / 1000, results[True], results[False])
