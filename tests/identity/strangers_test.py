"""Whoever has no valid certificate of a worker of the run is refused, with what is wrong, and the run continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pangea import _native
from pangea.ledger.reader import Worker
from pangea.rundir.layout import ORCHESTRATOR, data_service_name
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import wait_exit
from tests.identity.people import People
from tools.processes.waiting import eventually

DATASET = _native.DatasetInfo(
    name="none",
    hash=bytes(32),
    train_samples=1,
    held_out_samples=0,
    classes=0,
    features=("float32", (1,)),
    labels=("float32", ()),
)
SERVICES = [ORCHESTRATOR, data_service_name(1)]


def of_another_authority(people: People) -> Path:
    """A worker's certificate of an authority that calls itself as the run's does."""
    return People(people.folder.parent / "others").folder / "worker-2"


def revoked(people: People) -> Path:
    """A certificate that was revoked after the services had started."""
    people.issue("lost", "worker")
    people.revoke("lost", *SERVICES)
    return people.folder / "lost"


KINDS: dict[str, tuple[Callable[[People], Path | None], str]] = {
    "without a certificate": (lambda _people: None, "speaks TLS only; give this worker an identity"),
    "of another authority": (of_another_authority, "is not of this run's authority"),
    "expired": (lambda people: people.issue("old", "worker", days_ago=3), "this process's certificate has expired"),
    "revoked": (revoked, "revoked"),
    "of a viewer": (lambda people: people.issue("looks", "viewer"), "has role viewer"),
    "without a directory": (lambda people: people.folder / "nowhere", "make it with `pangea certs`"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_are_refused_and_the_run_continues(alone: Cluster, people: People, kind: str, tmp_path: Path) -> None:
    make, words = KINDS[kind]
    with cluster(tmp_path, identities=people.folder) as run:
        run.start_worker("worker-1", gate_step=3)
        run.wait_gate("worker-1")
        identity = make(people)
        if kind == "revoked":
            wait_refreshed(run)
        for connect in (ask_orchestrator, ask_data):
            with pytest.raises((_native.WireError, _native.PeerError)) as raised:
                connect(run, identity)
            assert words in str(raised.value)
        stranger = run.start_worker("stranger", PANGEA_IDENTITY="" if identity is None else str(identity))
        assert wait_exit(stranger) != 0
        assert words in stranger.log_tail(60)
        run.open_gate("worker-1")
        run.finish("worker-1")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    assert {worker.name for worker in run.records(Worker)} == {"worker-1"}


def wait_refreshed(run: Cluster) -> None:
    """Waits until the services have read the files again."""
    logs = [run.run_dir / "logs" / f"{service}.log" for service in SERVICES]
    eventually(lambda: all("was read again" in log.read_text() for log in logs), "the services read the new files")


def ask_orchestrator(run: Cluster, identity: Path | None) -> None:
    """Asks to join the run; the orchestrator's refusal of a certificate follows the handshake."""
    client = _native.OrchestratorClient(run.addresses(ORCHESTRATOR).listen, 20.0, identity=identity)
    client.join("stranger", "", [("weight", "float32", (1,))], bytes(32), 0, DATASET, heartbeat_seconds=0)


def ask_data(run: Cluster, identity: Path | None) -> None:
    """Asks the data service what it serves."""
    _native.DataClient(run.addresses(data_service_name(1)).listen, 20.0, identity=identity)


def test_a_server_of_another_role_is_not_trusted(people: People, tmp_path: Path) -> None:
    with cluster(tmp_path, identities=people.folder) as run:
        orchestrator = run.addresses(ORCHESTRATOR).listen
        with pytest.raises(_native.WireError, match="orchestrator, but this is the address of the data service"):
            _native.DataClient(orchestrator, 20.0, identity=people.folder / "worker-1")
        data = run.addresses(data_service_name(1)).listen
        with pytest.raises(_native.WireError, match="data, but this is the address of the orchestrator") as raised:
            _native.OrchestratorClient(data, 20.0, identity=people.folder / "worker-1")
        assert raised.value.kind == "identity"


def test_services_without_tls_are_recognised(people: People, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        for connect in (ask_orchestrator, ask_data):
            with pytest.raises(_native.WireError, match="does not speak TLS; start it with --identity"):
                connect(run, people.folder / "worker-1")


def test_nobody_acts_under_another_workers_name(alone: Cluster, people: People, tmp_path: Path) -> None:
    with cluster(tmp_path, identities=people.folder) as run:
        run.start_worker("worker-1", gate_step=3)
        run.wait_gate("worker-1")
        impostor = run.start_worker("worker-2", PANGEA_WORKER_NAME="worker-1")
        assert wait_exit(impostor) != 0
        assert 'the certificate is that of worker "worker-2", which may not join as "worker-1"' in impostor.log_tail(60)
        run.open_gate("worker-1")
        run.finish("worker-1")
    assert run.hashes() == alone.hashes()
    assert {worker.name for worker in run.records(Worker)} == {"worker-1"}


def test_a_worker_that_is_revoked_in_the_run_is_sent_away(alone: Cluster, people: People, tmp_path: Path) -> None:
    with cluster(tmp_path, identities=people.folder) as run:
        for name in ("worker-1", "worker-2"):
            run.start_worker(name, gate_step=3)
        run.wait_gate("worker-1")
        run.wait_gate("worker-2")
        people.revoke("worker-2", *SERVICES)
        eventually(lambda: len(run.status()["workers"]) == 1, "the worker is no longer in the run")
        run.open_gate("worker-1", "worker-2")
        assert wait_exit(run.workers["worker-2"]) != 0
        assert "revoked" in run.workers["worker-2"].log_tail(60)
        run.finish("worker-1")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
