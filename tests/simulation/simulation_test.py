"""More than 1,000 random histories, each checked against the undisturbed run."""

import time

from tests.simulation.histories import judge_all, replay

SEEDS = 1_200
# Every kind must occur, or the histories test less than they claim.
FAULTS = {
    "all workers killed",
    "checkpoint damaged",
    "checkpoint not written",
    "disk full",
    "donor hangs",
    "everything killed",
    "everything stopped with a last checkpoint",
    "late joiner",
    "ledger not written",
    "liars caught",
    "loss of power",
    "losses that are sums",
    "no data",
    "orchestrator killed",
    "orchestrator stopped",
    "partition",
    "partition that heals",
    "run ended early",
    "samples left out",
    "script leaves its loop",
    "shards merged",
    "straggler",
    "sum is late",
    "sum is no longer wanted",
    "sync fails",
    "unequal weights",
    "worker hangs",
    "worker hangs for good",
    "worker killed",
    "worker leaves",
    "worker paused",
}


def test_every_history_keeps_the_promises() -> None:
    started = time.perf_counter()
    wrong, faults = judge_all(0, SEEDS)
    seconds = time.perf_counter() - started
    print(f"\n{SEEDS} histories in {seconds:.1f} s: {SEEDS / seconds:.0f} a second, with {faults}")
    said = [f"seed {seed}: {'; '.join(found[:5])}\n  play it again: {replay(seed)}" for seed, found in wrong.items()]
    assert not said, "\n".join(said)
    rare = {kind: faults.get(kind, 0) for kind in FAULTS if faults.get(kind, 0) < 20}
    assert not rare, f"these faults hardly occur: {rare}"
