"""Workers that compute or hold wrong bits are found, named and excluded from the sum."""

from pathlib import Path

import pytest

from pangea.ledger import reader as ledger
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import wait_exit

CHECKPOINT_STEPS = 2
INCIDENTS = [f'"msg":"{kind}"' for kind in ("conflict", "divergence", "quarantine")] + ['"verdict":"conflict"']


def test_a_worker_that_computes_wrong_gradients_is_quarantined_for_good(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, verify_fraction=1.0, errors=INCIDENTS) as run:
        # It holds all shards of the first step, so the run waits there until all three have joined.
        run.start_worker("liar", gate_step=0, LIE_FROM_STEP="2")
        run.wait_gate("liar")
        run.start_worker("honest-1", gate_step=8)
        run.start_worker("honest-2", gate_step=8)
        run.wait_workers(3)
        run.open_gate("liar")
        assert wait_exit(run.workers["liar"]) == 1
        assert "quarantine" in run.workers["liar"].log_tail()
        run.start_worker("liar")
        assert wait_exit(run.workers["liar"]) == 1
        assert "quarantine" in run.workers["liar"].log_tail()
        run.open_gate("honest-1")
        run.open_gate("honest-2")
        run.finish("honest-1", "honest-2")
        incidents = run.records(ledger.Incident)
        run.audit()
    assert {incident.name for incident in incidents if incident.kind == "quarantine"} == {"liar"}
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_nan_gradient_is_refused_naming_tensor_and_worker_and_the_run_continues(
    alone: Cluster, tmp_path: Path
) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("broken", gate_step=0, LIE_FROM_STEP="2", LIE_FACTOR="nan")
        run.wait_gate("broken")
        run.start_worker("sound")
        run.wait_workers(2)
        run.open_gate("broken")
        assert wait_exit(run.workers["broken"]) == 1
        said = run.workers["broken"].log_tail()
        assert (
            "refused" in said and "(broken)" in said and "1.weight" in said and "NaN" in said and "of step 2" in said
        ), said
        run.finish("sound")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_verifying_every_shard_changes_no_bit(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, verify_fraction=1.0) as run:
        run.start_worker("first")
        run.start_worker("second")
        run.finish("first", "second")
    assert run.hashes() == alone.hashes()
    assert run.records(ledger.Incident) == []


@pytest.mark.parametrize("sound", [2, 1])
def test_a_worker_whose_parameters_change_by_themselves_is_identified_and_repaired(
    sound: int, alone: Cluster, tmp_path: Path
) -> None:
    # With one sound worker there is no majority: recomputing the steps shows who was wrong.
    with cluster(tmp_path, checkpoint_steps=CHECKPOINT_STEPS, errors=INCIDENTS) as run:
        run.start_worker("bad-memory", gate_step=0, FLIP_AFTER_STEP="3")
        run.wait_gate("bad-memory")
        names = [f"sound-{number}" for number in range(1, sound + 1)]
        for name in names:
            run.start_worker(name)
        run.wait_workers(1 + sound)
        run.open_gate("bad-memory")
        run.finish("bad-memory", *names)
        incidents = run.records(ledger.Incident)
        run.audit()
    assert {incident.name for incident in incidents if incident.worker} == {"bad-memory"}
    assert {incident.kind for incident in incidents} == {"divergence"}
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
