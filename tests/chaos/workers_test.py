"""Workers die, hang, fall silent and return in the middle of a run; the bits stay those of an undisturbed run."""

import signal
from pathlib import Path

from pangea.ledger import reader as ledger
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, pause, resume, wait_exit
from tools.processes.waiting import eventually


def test_all_workers_are_killed_and_a_new_one_continues(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("first", gate_step=0)
        run.wait_gate("first")
        run.start_worker("second", gate_step=4)
        run.wait_workers(2)
        run.open_gate("first")
        run.wait_gate("second")
        for name in ("first", "second"):
            kill(run.workers[name])
        # Neither a worker nor a checkpoint holds the open step: it is recomputed from the initial parameters, and has
        # to match the hashes in the ledger.
        run.start_worker("third")
        run.finish("third")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_nobody_waits_for_a_stopped_worker_which_takes_part_again_later(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("steady", gate_step=2)
        run.wait_gate("steady")
        run.start_worker("stopped", gate_step=3)
        run.wait_workers(2)
        run.open_gate("steady")
        run.wait_gate("stopped")
        pause(run.workers["stopped"])
        run.wait_step(8)
        assert any(worker["silent"] for worker in run.status()["workers"])
        run.open_gate("stopped")
        resume(run.workers["stopped"])
        run.finish("steady", "stopped")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_others_overtake_a_worker_that_hangs_but_sends_heartbeats(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("steady", gate_step=1)
        run.wait_gate("steady")
        run.start_worker("hanging", gate_step=8)
        run.wait_workers(2)
        run.open_gate("steady")
        run.wait_gate("hanging")
        # Its shards are leased a second time in each step, because they take longer than those of all earlier steps.
        run.wait_step(11)
        assert not any(worker["silent"] for worker in run.status()["workers"])
        run.open_gate("hanging")
        run.finish("steady", "hanging")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_all_workers_but_one_hang_and_it_continues_alone(alone: Cluster, tmp_path: Path) -> None:
    hanging = [f"hanging-{number}" for number in range(1, 4)]
    with cluster(tmp_path) as run:
        run.start_worker("steady", gate_step=1)
        run.wait_gate("steady")
        for name in hanging:
            run.start_worker(name, gate_step=4)
        run.wait_workers(4)
        run.open_gate("steady")
        for name in hanging:
            run.wait_gate(name)
        run.finish("steady")
        for name in hanging:
            run.open_gate(name)
        run.finish(*hanging)
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_a_newcomer_does_not_wait_for_the_only_other_worker_which_hangs(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("hanging", gate_step=5)
        run.wait_gate("hanging")
        # Nobody else holds the open step, and there is no checkpoint: it is recomputed from the initial parameters.
        run.start_worker("newcomer")
        run.finish("newcomer")
        assert run.status()["resumed_from"] == {"step": 0, "file": "", "steps_again": 5}
        run.open_gate("hanging")
        run.finish("hanging")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_a_newcomer_starts_from_a_checkpoint_if_its_donor_hangs(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=4) as run:
        # So far from the checkpoint that the orchestrator no longer holds its state in memory.
        run.start_worker("hanging", gate_step=7)
        run.wait_gate("hanging")
        eventually(lambda: run.records(ledger.Checkpoint)[-1].step == 4, "the checkpoint of step 4 is written")
        run.start_worker("newcomer")
        run.wait_workers(2)
        run.gates.hang_next_donor()
        run.open_gate("hanging")
        run.wait_hanging("hanging")
        run.finish("newcomer")
        assert "did not send it in time; another worker or a checkpoint is tried" in run.log("go-orchestrator")
        assert run.status()["resumed_from"]["step"] == 4
        assert run.records(ledger.Checkpoint)[-1].step == len(alone.hashes())
        run.gates.free("hanging")
        run.finish("hanging")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()


def test_a_worker_that_hangs_does_not_prevent_the_last_checkpoint(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=100) as run:
        run.start_worker("hanging", gate_step=0)
        run.wait_gate("hanging")
        run.start_worker("steady", gate_step=3)
        run.wait_workers(2)
        run.gates.hang_next_donor()
        run.open_gate("hanging")
        run.wait_gate("steady")
        run.orchestrator.signal(signal.SIGTERM)
        run.wait_hanging("hanging")
        run.open_gate("steady")
        assert wait_exit(run.orchestrator) == 0
        newest = run.records(ledger.Checkpoint)[-1]
        assert newest.step == 3, "the last checkpoint belongs to an earlier step"
        run.gates.free("hanging")
        run.start_orchestrator()
        run.finish("steady", "hanging")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()


def test_workers_die_one_after_the_other(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("survivor", gate_step=0)
        run.wait_gate("survivor")
        run.start_worker("victim-1", gate_step=2)
        run.start_worker("victim-2", gate_step=4)
        run.wait_workers(3)
        run.open_gate("survivor")
        for victim in ("victim-1", "victim-2"):
            run.wait_gate(victim)
            kill(run.workers[victim])
        run.finish("survivor")
    assert {line["workers"] for line in run.metrics()} >= {1, 3}
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()
