"""Runs whose processes know each other by certificates reach the same bits as others, whatever is killed or renewed."""

from __future__ import annotations

import signal
from pathlib import Path

from pangea.ledger.reader import Incident, Step
from pangea.rundir.layout import ORCHESTRATOR, data_service_name
from tests.harness.cluster import STEPS, Cluster, cluster
from tests.harness.processes import kill
from tests.identity.people import People
from tools.processes.waiting import eventually


def assert_undisturbed(run: Cluster, alone: Cluster) -> None:
    """Asserts that a run has the bits of the one to which nothing happened."""
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    assert not run.records(Incident)
    assert [step.step for step in run.records(Step)] == list(range(STEPS)), "no step is committed twice"


def test_the_bits_are_those_of_plain_connections(alone: Cluster, people: People, tmp_path: Path) -> None:
    with cluster(tmp_path, identities=people.folder, replicas=2) as run:
        run.start_worker("worker-1", gate_step=0)
        run.start_worker("worker-2", gate_step=0)
        run.wait_workers(2)
        run.open_gate("worker-1", "worker-2")
        run.finish("worker-1", "worker-2")
    assert_undisturbed(run, alone)


def test_killed_processes_come_back(alone: Cluster, people: People, tmp_path: Path) -> None:
    with cluster(tmp_path, identities=people.folder, crash_at="step.before-send:3") as run:
        run.start_worker("worker-1", gate_step=8)
        run.start_worker("worker-2", gate_step=8)
        eventually(lambda: run.orchestrator.exit_code() == -9, "the orchestrator dies")
        run.start_orchestrator()
        run.wait_gate("worker-1")
        run.wait_gate("worker-2")
        run.workers["worker-2"].signal(signal.SIGKILL)
        kill(run.replicas[0])
        run.start_replica(1)
        run.start_worker("worker-2")
        run.open_gate("worker-1")
        run.finish("worker-1", "worker-2")
    assert_undisturbed(run, alone)


def test_certificates_are_renewed_while_the_run_continues(alone: Cluster, people: People, tmp_path: Path) -> None:
    services = [ORCHESTRATOR, data_service_name(1)]
    with cluster(tmp_path, identities=people.folder) as run:
        run.start_worker("worker-1", gate_step=4)
        run.wait_gate("worker-1")
        logs = [run.run_dir / "logs" / f"{service}.log" for service in services]
        for name in [*services, "worker-1"]:
            people.renew(name)
        eventually(lambda: all("was read again" in log.read_text() for log in logs), "the services read the new files")
        run.start_worker("worker-2")
        run.wait_workers(2)
        run.open_gate("worker-1")
        run.finish("worker-1", "worker-2")
    assert_undisturbed(run, alone)


def test_a_certificate_for_any_name_admits_workers_under_all_names(
    alone: Cluster, people: People, tmp_path: Path
) -> None:
    shared = people.issue("shared", "worker", "*")
    with cluster(tmp_path, identities=people.folder) as run:
        for name in ("one", "two"):
            run.start_worker(name, gate_step=0, PANGEA_IDENTITY=str(shared))
        run.wait_workers(2)
        run.open_gate("one", "two")
        run.finish("one", "two")
    assert_undisturbed(run, alone)
