"""The schedule of faults: a pure function of a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class FaultKind(Enum):
    """A kind of fault, or of change, that a run has to tolerate. The values appear in the figures of `pangea chaos`."""

    KILL_WORKER = "worker killed"
    KILL_ALL_WORKERS = "all workers killed"
    KILL_ORCHESTRATOR = "orchestrator killed"
    KILL_DATA = "data service killed"
    PAUSE_WORKER = "worker paused"
    JOIN = "worker joins"
    LEAVE = "worker leaves"


KILLS = (FaultKind.KILL_WORKER, FaultKind.KILL_ALL_WORKERS, FaultKind.KILL_ORCHESTRATOR, FaultKind.KILL_DATA)
# Relative frequencies.
WEIGHTS = {
    FaultKind.KILL_WORKER: 6,
    FaultKind.KILL_ALL_WORKERS: 1,
    FaultKind.KILL_ORCHESTRATOR: 3,
    FaultKind.KILL_DATA: 2,
    FaultKind.PAUSE_WORKER: 2,
    FaultKind.JOIN: 1,
    FaultKind.LEAVE: 1,
}
# The range of the seconds for which a worker is paused.
_PAUSE_SECONDS = (0.5, 5.0)


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule.

    Attributes:
        at: seconds since the first step.
        kind: what happens.
        pick: in [0, 1); selects one of the processes that the fault can affect.
        seconds: the duration of a pause.
    """

    at: float
    kind: FaultKind
    pick: float
    seconds: float


def schedule(seed: int, mtbf: float, duration: float) -> list[Fault]:
    """Faults with exponentially distributed intervals, ascending by time.

    Args:
        seed: of all random choices.
        mtbf: mean time between faults, in seconds.
        duration: seconds.
    """
    choices = random.Random(seed)
    faults = []
    at = choices.expovariate(1 / mtbf)
    while at < duration:
        kind = choices.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        faults.append(Fault(at, kind, choices.random(), choices.uniform(*_PAUSE_SECONDS)))
        at += choices.expovariate(1 / mtbf)
    return faults
