"""The orchestrator dies at the points that matter most and is restarted: the same bits, no step lost, none repeated."""

import signal
from pathlib import Path

import pytest

from pangea.ledger import reader as ledger
from pangea.rundir.layout import ORCHESTRATOR
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, wait_exit
from tools.processes.waiting import eventually

CHECKPOINT_STEPS = 3


@pytest.mark.parametrize(
    "point",
    [
        # While the first worker joins.
        "ledger.before-append:2",
        "ledger.after-commit:3",
        # In the middle of the run.
        "ledger.before-append:6",
        "ledger.after-append:6",
        "ledger.after-sync:7",
        "ledger.before-slot:4",
        "ledger.after-slot:5",
        "ledger.after-commit:8",
        "sum.after:4",
        "step.before-send:4",
        "step.after-send:3",
        "checkpoint.before-rename:2",
        "checkpoint.after-rename:2",
    ],
)
def test_after_a_kill_at_a_failpoint_it_continues_to_the_same_bits(point: str, alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, crash_at=point, checkpoint_steps=CHECKPOINT_STEPS) as run:
        run.start_worker("first")
        run.start_worker("second")
        assert wait_exit(run.orchestrator) == -9
        run.start_orchestrator()
        run.finish("first", "second")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()
    run.audit()


def test_a_sum_that_was_sent_before_its_commit_is_applied_by_nobody(tmp_path: Path) -> None:
    # Large enough to be added beside the event loop, and sent while it is added.
    wide = "2000"
    with cluster(tmp_path / "quiet") as quiet:
        quiet.start_worker("alone", HIDDEN=wide)
        quiet.finish("alone")
    with cluster(tmp_path / "killed", crash_at="sum.after:3") as run:
        for name in ("first", "second"):
            # Over TCP: in shared memory, a sum is read only after its commit.
            run.start_worker(name, HIDDEN=wide, PANGEA_ORCHESTRATOR=run.addresses(ORCHESTRATOR).listen)
        for crash_at in ("stream.before-final:2", ""):
            assert wait_exit(run.orchestrator) == -9
            run.start_orchestrator(crash_at)
        run.finish("first", "second")
    assert run.hashes() == quiet.hashes()
    assert run.figures() == quiet.figures()
    assert run.final() == quiet.final()
    run.audit()


def test_repeated_kills_lose_nothing(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, crash_at="ledger.after-append:9") as run:
        run.start_worker("first")
        run.start_worker("second")
        for crash_at in ("ledger.after-sync:6", "step.before-send:2", "step.after-send:1", ""):
            assert wait_exit(run.orchestrator) == -9
            run.start_orchestrator(crash_at)
        run.finish("first", "second")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()
    run.audit()


def test_everything_is_killed_and_restarted(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=CHECKPOINT_STEPS) as run:
        run.start_worker("first", gate_step=8)
        run.wait_gate("first")
        for child in (run.workers["first"], run.orchestrator, run.replicas[0]):
            kill(child)
        run.replicas[0] = run.start_replica(1)
        run.start_orchestrator()
        run.start_worker("second")
        run.start_worker("third")
        run.finish("second", "third")
        assert "the run continues from a checkpoint" in run.log("go-orchestrator")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
    assert run.final() == alone.final()
    run.audit()


def test_sigusr1_takes_a_checkpoint_and_the_run_continues(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=100) as run:
        run.start_worker("first", gate_step=2)
        run.wait_gate("first")
        run.orchestrator.signal(signal.SIGUSR1)
        eventually(
            lambda: "a checkpoint was requested" in run.log("go-orchestrator"), "the orchestrator handles SIGUSR1"
        )
        run.open_gate("first")
        run.finish("first")
        steps = [record.step for record in run.records(ledger.Checkpoint)]
    assert len(steps) == 3 and steps[0] == 0 and 2 <= steps[1] < steps[2], (
        "not just the first checkpoint, that of the signal and the last one"
    )
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()


def test_sighup_ends_it_after_a_last_checkpoint(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=100) as run:
        run.start_worker("first", gate_step=5)
        run.wait_gate("first")
        run.orchestrator.signal(signal.SIGHUP)
        eventually(
            lambda: "waits for a last checkpoint" in run.log("go-orchestrator"), "the orchestrator handles SIGHUP"
        )
        run.open_gate("first")
        assert wait_exit(run.orchestrator) == 0
        assert run.records(ledger.Checkpoint)[-1].step == len(run.records(ledger.Step))
        run.start_orchestrator()
        run.finish("first")
    assert run.hashes() == alone.hashes()
    assert run.figures() == alone.figures()
