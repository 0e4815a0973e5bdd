"""Workers die, hang, fall silent and come back in the middle of a run; the bits stay those of an undisturbed one."""

from pathlib import Path

from tests.chaos.stage import Stage, go_on, kill, pause, stage


def test_all_workers_are_killed_and_others_go_on(alone: Stage, tmp_path: Path) -> None:
    with stage(tmp_path) as run:
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


def test_a_stopped_worker_is_not_waited_for_and_takes_part_again(alone: Stage, tmp_path: Path) -> None:
    with stage(tmp_path) as run:
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
        go_on(run.workers["stopped"])
        run.finish("steady", "stopped")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_worker_that_hangs_while_its_heart_beats_is_overtaken(alone: Stage, tmp_path: Path) -> None:
    with stage(tmp_path) as run:
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


def test_workers_die_one_after_the_other(alone: Stage, tmp_path: Path) -> None:
    with stage(tmp_path) as run:
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
