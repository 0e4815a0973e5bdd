"""Which faults happen when: a pure function of a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class FaultKind(Enum):
    """A fault, or a change, that a run has to live with."""

    KILL_WORKER = "worker killed"
    KILL_ALL_WORKERS = "all workers killed"
    KILL_ORCHESTRATOR = "orchestrator killed"
    KILL_DATA = "data service killed"
    PAUSE_WORKER = "worker paused"
    JOIN = "worker joins"
    LEAVE = "worker leaves"


KILLS = (FaultKind.KILL_WORKER, FaultKind.KILL_ALL_WORKERS, FaultKind.KILL_ORCHESTRATOR, FaultKind.KILL_DATA)
# How often each comes, against the others.
WEIGHTS = {
    FaultKind.KILL_WORKER: 6,
    FaultKind.KILL_ALL_WORKERS: 1,
    FaultKind.KILL_ORCHESTRATOR: 3,
    FaultKind.KILL_DATA: 2,
    FaultKind.PAUSE_WORKER: 2,
    FaultKind.JOIN: 1,
    FaultKind.LEAVE: 1,
}
# Seconds that a worker stands still.
_PAUSES = (0.5, 5.0)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds after the beginning.
        pick: in [0, 1); which of those that the fault can hit.
        seconds: how long a pause lasts.
    """

    at: float
    kind: FaultKind
    pick: float
    seconds: float


def schedule(seed: int, mtbf: float, duration: float) -> list[Fault]:
    """Faults with exponentially distributed gaps, ascending by time.

    Args:
        seed: of all choices.
        mtbf: mean seconds between two faults.
        duration: seconds.
    """
    choices = random.Random(seed)
    faults = []
    at = choices.expovariate(1 / mtbf)
    while at < duration:
        kind = choices.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        faults.append(Fault(at, kind, choices.random(), choices.uniform(*_PAUSES)))
        at += choices.expovariate(1 / mtbf)
    return faults
