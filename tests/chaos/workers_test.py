"""Workers die, hang, fall silent and come back in the middle of a run; the bits stay those of an undisturbed one."""

import signal
from pathlib import Path

from pangea.ledger import reader as ledger
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, pause, resume, wait_exit
from tools.processes.waiting import eventually


def test_all_workers_are_killed_and_others_go_on(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("first", gate_step=0)
        run.wait_gate("first")
        run.start_worker("second", gate_step=4)
        run.wait_workers(2)
        run.open_gate("first")
        run.wait_gate("second")
        for name in ("first", "second"):
            kill(run.workers[name])
        # No worker and no checkpoint holds the open step: it is reached again from the initial parameters, and the ledger knows the bits.
        run.start_worker("third")
        run.finish("third")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_stopped_worker_is_not_waited_for_and_takes_part_again(alone: Cluster, tmp_path: Path) -> None:
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
    assert run.final() == alone.final()


def test_a_worker_that_hangs_while_its_heart_beats_is_overtaken(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("steady", gate_step=1)
        run.wait_gate("steady")
        run.start_worker("hanging", gate_step=8)
        run.wait_workers(2)
        run.open_gate("steady")
        run.wait_gate("hanging")
        # Its shards are leased a second time, step after step, because they take longer than those of all steps before.
        run.wait_step(11)
        assert not any(worker["silent"] for worker in run.status()["workers"])
        run.open_gate("hanging")
        run.finish("steady", "hanging")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_all_but_one_worker_hang_and_it_goes_on_alone(alone: Cluster, tmp_path: Path) -> None:
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
    assert run.final() == alone.final()


def test_a_newcomer_does_not_wait_for_the_only_worker_which_hangs(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("hanging", gate_step=5)
        run.wait_gate("hanging")
        # Nobody else holds the open step, and there is no checkpoint: it is reached again from the initial parameters.
        run.start_worker("newcomer")
        run.finish("newcomer")
        assert run.status()["resumed_from"] == {"step": 0, "file": "", "steps_again": 5}
        run.open_gate("hanging")
        run.finish("hanging")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_newcomer_goes_on_from_a_checkpoint_when_the_worker_that_is_asked_for_its_state_hangs(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=4) as run:
        # Far enough from the checkpoint for its state not to be in memory any more.
        run.start_worker("hanging", gate_step=7)
        run.wait_gate("hanging")
        eventually(lambda: run.records(ledger.Checkpoint)[-1].step == 4, "the checkpoint of step 4 is written")
        run.start_worker("newcomer")
        run.wait_workers(2)
        run.gates.hang_next_donor()
        run.open_gate("hanging")
        run.wait_hanging("hanging")
        run.finish("newcomer")
        assert "does not give it; another one, or a checkpoint, is tried" in run.log("go-orchestrator")
        assert run.status()["resumed_from"]["step"] == 4
        assert run.records(ledger.Checkpoint)[-1].step == len(alone.hashes())
        run.gates.free("hanging")
        run.finish("hanging")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_the_last_checkpoint_is_not_lost_to_a_worker_that_hangs(alone: Cluster, tmp_path: Path) -> None:
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
        assert newest.step == 3, "the last checkpoint is of an earlier step"
        run.gates.free("hanging")
        run.start_orchestrator()
        run.finish("steady", "hanging")
    assert run.hashes() == alone.hashes()


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
    assert run.final() == alone.final()
