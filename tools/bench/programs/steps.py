"""When a program began each step, and how much processor time it and the services had used by then."""

from __future__ import annotations

import time
from typing import Any

from tools.bench.programs import cores


class Steps:
    """The first of the programs reads the clocks of the services, the others only their own."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Takes the job's `services`: process IDs by name."""
        self._services: dict[str, int] = job.get("services", {}) if job["rank"] == 0 else {}
        self.began: dict[int, dict[str, float]] = {}

    def begin(self, step: int) -> None:
        """Marks the beginning of a step; only its first mark counts."""
        if step not in self.began:
            self.began[step] = {
                "seconds": time.perf_counter(),
                "workers": cores.own(),
                **{name: cores.used([process]) for name, process in self._services.items()},
            }
