"""Replicas of the data service die, hang and are replaced; the batches stay the same."""

from pathlib import Path

import pytest

from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, pause


def test_the_only_replica_is_killed_and_restarted(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("worker", gate_step=4)
        run.wait_gate("worker")
        kill(run.replicas[0])
        run.open_gate("worker")
        run.replicas[0] = run.start_replica(1)
        run.finish("worker")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_the_other_replica_takes_over_from_a_killed_one(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=2) as run:
        run.start_worker("worker", gate_step=4)
        run.wait_gate("worker")
        kill(run.replicas[0])
        run.open_gate("worker")
        run.finish("worker")
    assert run.hashes() == alone.hashes()


@pytest.mark.parametrize("hanging", [0, 1])
def test_nobody_waits_for_a_replica_that_hangs(hanging: int, alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=2) as run:
        run.start_worker("worker", gate_step=4)
        run.wait_gate("worker")
        pause(run.replicas[hanging])
        run.open_gate("worker")
        run.finish("worker")
    assert run.hashes() == alone.hashes()
