"""Promise 1 for workers that share memory with the orchestrator, for others, and for both in one run: the same bits,
also if a worker or the orchestrator dies in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangea.ledger.reader import Incident, Step, Worker
from pangea.rundir.layout import ORCHESTRATOR
from tests.harness.cluster import STEPS, Cluster, cluster
from tests.harness.pages import http_get
from tools.processes.waiting import eventually

MEMORY, TCP = "shared memory", "TCP"


def start(run: Cluster, name: str, transport: str, crash_at: str = "") -> None:
    """Starts a worker that waits at its gate before step 0."""
    addresses = run.addresses(ORCHESTRATOR)
    address = f"unix:{addresses.socket}" if transport == MEMORY else addresses.listen
    run.start_worker(name, gate_step=0, PANGEA_ORCHESTRATOR=address, PANGEA_CRASH_AT=crash_at)


def metric(run: Cluster, name: str) -> float:
    """A metric of the orchestrator without labels."""
    _, page = http_get(run.status_address, "/metrics")
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


def ids(run: Cluster, names: set[str]) -> set[int]:
    """The ids of workers, which depend on who joined first."""
    return {worker.id for worker in run.records(Worker) if worker.name in names}


def placed(run: Cluster, worker: int) -> int:
    """How many of a worker's sums are read in its slots.

    It has one slot at first, and gets the others with its first submission of several sums, which still sends those in
    frames.
    """
    sums: list[int] = [sum(part.worker == worker for part in step.contributions) for step in run.records(Step)]
    return sum(sums) - (max(sums) - 1)


@pytest.mark.parametrize(
    "transports",
    [
        [MEMORY],
        [MEMORY] * 2,
        [MEMORY] * 3,
        [MEMORY] * 4,
        [TCP] * 2,
        [MEMORY, TCP],
        [MEMORY, TCP, MEMORY],
        [TCP, MEMORY, MEMORY, TCP],
    ],
    ids=lambda transports: "+".join("memory" if each == MEMORY else "tcp" for each in transports),
)
def test_bits_do_not_depend_on_the_transport(alone: Cluster, transports: list[str], tmp_path: Path) -> None:
    names = [f"worker-{number}" for number in range(1, len(transports) + 1)]
    with cluster(tmp_path) as run:
        for name, transport in zip(names, transports, strict=True):
            start(run, name, transport)
        run.wait_workers(len(names))
        run.open_gate(*names)
        run.finish(*names)
        updates, sums = (metric(run, f"pangea_orchestrator_shared_{what}_total") for what in ("updates", "sums"))
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    sharing = {name for name, transport in zip(names, transports, strict=True) if transport == MEMORY}
    assert updates >= sum(placed(run, worker) for worker in ids(run, sharing)), "gradients travelled through a socket"
    # A worker that joins late is given a state instead of the sums before it.
    assert (sums >= STEPS - 1) if sharing else (sums == 0), "sums travelled through a socket"


@pytest.mark.parametrize("point", ["shared.inside-write", "shared.before-submit"])
def test_a_worker_that_dies_before_the_message_has_submitted_nothing(
    alone: Cluster, point: str, tmp_path: Path
) -> None:
    with cluster(tmp_path) as run:
        start(run, "worker-1", MEMORY)
        start(run, "worker-2", MEMORY, crash_at=f"{point}:4")
        run.wait_workers(2)
        run.open_gate("worker-1", "worker-2")
        eventually(lambda: run.workers["worker-2"].exit_code() == -9, "worker-2 dies")
        run.finish("worker-1")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    assert not run.records(Incident)
    steps = run.records(Step)
    assert [step.step for step in steps] == list(range(STEPS)), "no step is committed twice"
    # What it had submitted before counts; what was in its slot when it died does not.
    (died,) = ids(run, {"worker-2"})
    assert 1 <= sum(any(part.worker == died for part in step.contributions) for step in steps) <= 3


@pytest.mark.parametrize("point", ["sum.after:4", "ledger.after-sync:9", "step.before-send:4"])
def test_an_orchestrator_that_dies_between_sum_and_commit(alone: Cluster, point: str, tmp_path: Path) -> None:
    with cluster(tmp_path, crash_at=point) as run:
        for name, transport in (("worker-1", MEMORY), ("worker-2", TCP)):
            start(run, name, transport)
        run.wait_workers(2)
        run.open_gate("worker-1", "worker-2")
        eventually(lambda: run.orchestrator.exit_code() == -9, "the orchestrator dies")
        run.start_orchestrator()
        run.finish("worker-1", "worker-2")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    assert [step.step for step in run.records(Step)] == list(range(STEPS)), "no step is committed twice"
