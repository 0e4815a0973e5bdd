"""`pangea launch --backend ray` on a real Ray cluster of two nodes: whatever is killed, the bits stay the same."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pangea.launch import ray_keeper
from pangea.launch.job import Job
from pangea.launch.settings import Settings
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR, port_file
from pangea.services.restarts import ExitStatus
from tests.harness.cluster import SCRIPT, Cluster
from tests.harness.command import pangea
from tests.harness.launched import Launched, launched, new_run
from tests.harness.processes import parent_of
from tools.processes.waiting import eventually

_STORE_BYTES = 80 << 20
_GATE_STEP = 3


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes; workers inherit the environment of their node."""
    for name, value in (
        ("GATE_STEP", str(_GATE_STEP)),
        ("GATE_DIR", str(tmp_path / "gates")),
        ("RAY_USAGE_STATS_ENABLED", "0"),
    ):
        monkeypatch.setenv(name, value)
    cluster = importlib.import_module("ray.cluster_utils").Cluster()
    try:
        for _ in range(2):
            cluster.add_node(
                num_cpus=4, object_store_memory=_STORE_BYTES, include_dashboard=False, node_ip_address="127.0.0.1"
            )
        yield cluster
    finally:
        cluster.shutdown()


def launch(nodes: Any, run_dir: Path, *options: str) -> list[str]:
    """Arguments of `pangea` for a run on the cluster."""
    _train, *words = new_run(run_dir, "--workers", "2", *options)
    return ["launch", "--backend", "ray", "--address", nodes.address, *words]


def keeper_of(pid: int) -> int:
    """The actor that started a process."""
    parent = parent_of(pid)
    assert b"ray::" in Path(f"/proc/{parent}/cmdline").read_bytes()
    return parent


def wait_again(command: Launched, name: str, pid: int) -> None:
    """Waits until there is another process of this name. The old worker may still be there, waiting at its gate."""
    eventually(lambda: set(command.processes(name)) - {pid}, f"{name} is restarted")


def finish(command: Launched, alone: Cluster, folder: Path) -> str:
    """Lets the run continue to its end and checks it; gives the output of the command."""
    command.open_gates()
    said = command.wait_exit(0)
    assert command.hashes() == alone.hashes()
    assert command.final() == alone.final()
    eventually(lambda: not command.processes(), "no process outlives the run")
    audit = pangea(folder, "audit", str(command.run_dir))
    assert audit.returncode == 0, audit.stdout + audit.stderr
    return said


def test_killed_workers_orchestrator_and_actors_are_restarted_and_the_bits_hold(
    nodes: Any, alone: Cluster, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, launch(nodes, run_dir), gate_step=_GATE_STEP) as command:
        command.wait_mid_step(2)
        for victim in ("worker-1", "go-orchestrator"):
            wait_again(command, victim, command.kill(victim))
        for victim in ("worker-2", "go-orchestrator", "rust-compute"):
            pid = command.process(victim)
            os.kill(keeper_of(pid), signal.SIGKILL)
            wait_again(command, victim, pid)
        said = finish(command, alone, tmp_path)
    assert "worker-1 was killed (signal 9); started again" in said
    assert "go-orchestrator is started again after its actor or its node was lost" in said


def test_processes_move_off_a_lost_node_and_the_bits_hold(nodes: Any, alone: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, launch(nodes, run_dir), gate_step=_GATE_STEP) as command:
        command.wait_mid_step(2)
        # Not the head node, which keeps the list of nodes.
        nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
        eventually(
            lambda: "after its actor or its node was lost" in command.output,
            "Ray notices and restarts something on the other node",
        )
        finish(command, alone, tmp_path)


def keeper(run_dir: Path) -> ray_keeper.Keeper:
    """The keeper of a worker whose services have not been placed yet."""
    (run_dir / "logs").mkdir(parents=True)
    return ray_keeper.Keeper(Job(Settings(SCRIPT), "run", run_dir), "worker-1")


@pytest.mark.parametrize("placed", [False, True], ids=["not placed", "on a lost node"])
def test_a_worker_without_services_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placed: bool
) -> None:
    monkeypatch.setattr(ray_keeper, "_SERVICES_SECONDS", 0.1)
    waiting = keeper(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = "{}:{}".format(*gone.getsockname())
    for name in (ORCHESTRATOR, DATA_SERVICE) if placed else ():
        port_file(tmp_path / "run", name).write_text(json.dumps({"listen": address, "http": address}))
    ended = waiting.run()
    assert ended.status is ExitStatus.FAILED
    assert "worker-1 was not started" in ended.message and "room" in ended.message
    assert not list((tmp_path / "run" / "logs").glob("*.log"))


def test_no_worker_is_started_if_the_run_is_stopped_before_its_services_are_placed(tmp_path: Path) -> None:
    waiting = keeper(tmp_path / "run")
    stop = ray_keeper.stop_file(tmp_path / "run", "worker-1")
    stop.touch()
    assert waiting.run().status is ExitStatus.EXITED
    assert list((tmp_path / "run" / "logs").iterdir()) == [stop]


def test_a_missing_cluster_is_reported(tmp_path: Path) -> None:
    result = pangea(tmp_path, "launch", "--backend", "ray", "--address", "127.0.0.1:1", "--run-dir", "run")
    assert result.returncode == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in result.stderr
