"""A run with weighted shards that its script ends early: the same bytes for any workers, and the audit shows both."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pangea.commands.main import main
from pangea.ledger.reader import Step
from tests.harness.cluster import Cluster, cluster

SCRIPT = Path(__file__).with_name("weighted_training.py")
# Shards of three or four samples, in some of which every sample is ignored.
BATCH, SHARDS, STOP_STEP = 50, 16, 6


def train(folder: Path, workers: int) -> Cluster:
    with cluster(folder, epochs=1, batch_size=BATCH, shards=SHARDS) as run:
        for number in range(workers):
            run.start_worker(f"worker-{number}", script=SCRIPT, STOP_STEP=str(STOP_STEP))
        for name in run.workers:
            run.wait_exit(name)
    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return train(tmp_path_factory.mktemp("alone"), 1)


def test_a_step_is_divided_by_the_sum_of_the_weights(alone: Cluster) -> None:
    for step, line in zip(alone.records(Step), alone.metrics(), strict=True):
        weights = [shard.weight for part in step.contributions for shard in part.shards]
        assert step.samples == BATCH > (step.divisor or 0) == sum(weight or 0 for weight in weights) > 0
        assert line["loss"] == step.loss_sum / (step.divisor or 0)
    assert 0.0 in [
        shard.weight for step in alone.records(Step) for part in step.contributions for shard in part.shards
    ], "no shard has a weight of 0"


def test_two_workers_end_after_the_same_step_with_the_same_bytes(alone: Cluster, tmp_path: Path) -> None:
    together = train(tmp_path, 2)
    assert len(together.hashes()) == STOP_STEP + 1
    assert together.hashes() == alone.hashes()
    assert together.final() == alone.final()


def test_the_audit_shows_where_the_run_ended_and_on_whose_request(alone: Cluster) -> None:
    shown = CliRunner().invoke(main, ["audit", str(alone.run_dir)])
    assert shown.exit_code == 0, shown.output
    assert "complete up to step 7 of 29, stopped by worker-0: it has seen enough\n" in shown.output
    found = json.loads(CliRunner().invoke(main, ["audit", str(alone.run_dir), "--json"]).output)
    assert (found["holds"], found["samples"], found["weight"]) == (
        True,
        350,
        sum(step.divisor or 0 for step in alone.records(Step)),
    )
