"""Recovery times: how long a run takes to commit a step after a fault, by kind of fault."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pangea.chaos.schedule import KILLS, FaultKind


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, p50, p99 and maximum of the values."""
    return {"count": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}


@dataclass
class Recoveries:
    """The times from each fault to the next step that the run commits, in seconds of any one clock.

    A step becomes visible once the first worker has applied it, so the first visible step after a fault may have been
    committed before the fault. The second one was not, and ends the recovery. A recovery time is therefore too long by
    up to one step, and never too short.
    """

    counts: Counter[FaultKind] = field(default_factory=Counter)
    seconds: dict[FaultKind, list[float]] = field(default_factory=dict)
    _open: list[tuple[FaultKind, float, int]] = field(default_factory=list)

    def add_fault(self, kind: FaultKind, at: float, steps: int) -> None:
        """Records a fault at a time when `steps` steps were visible."""
        self.counts[kind] += 1
        self._open.append((kind, at, steps + 2))

    def add_progress(self, at: float, steps: int) -> None:
        """Records that `steps` steps are visible."""
        for kind, since, wanted in self._open:
            if steps >= wanted:
                self.seconds.setdefault(kind, []).append(at - since)
        self._open = [entry for entry in self._open if steps < entry[2]]

    @property
    def pending(self) -> bool:
        """Whether the run has not yet recovered from a fault."""
        return bool(self._open)

    @property
    def kills(self) -> int:
        """The number of faults that killed one or more processes."""
        return sum(count for kind, count in self.counts.items() if kind in KILLS)

    def report(self) -> dict[str, dict[str, Any]]:
        """The number of faults and the spread of recovery times, by kind of fault."""
        return {
            kind.value: {
                "faults": self.counts[kind],
                "recovery_seconds": spread(self.seconds[kind]) if kind in self.seconds else None,
            }
            for kind in FaultKind
            if self.counts[kind]
        }
