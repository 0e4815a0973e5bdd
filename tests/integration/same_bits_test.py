"""Promise 1: the parameters after every step are the same bytes for any number of workers.

Workers are new interpreters here, so each hashes with a seed of its own: no order of a set may decide about bits.
"""

from pathlib import Path

import pytest

from pangea.ledger.reader import Step
from tests.harness.cluster import STEPS, Cluster, undisturbed


def test_a_run_has_a_hash_for_every_step_and_they_all_differ(alone: Cluster) -> None:
    # 1,438 training samples in batches of 256: the last step of an epoch is smaller.
    assert [line["samples"] for line in alone.metrics()] == ([256] * 5 + [158]) * 2
    assert len(set(alone.hashes())) == STEPS


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_end_every_step_with_the_bits_of_one(alone: Cluster, workers: int, tmp_path: Path) -> None:
    together = undisturbed(tmp_path, workers=workers, warm=False)
    assert max(line["workers"] for line in together.metrics()) == workers, (
        "the workers never took part in the same step"
    )
    assert together.hashes() == alone.hashes()
    assert together.final() == alone.final()


def test_a_step_with_few_samples_is_cut_into_fewer_shards(tmp_path: Path) -> None:
    # 1,438 = 4 * 359 + 2: the last step has two samples, which eight shards would separate.
    alone, together = (
        undisturbed(tmp_path / str(workers), workers=workers, epochs=1, batch_size=359, warm=False)
        for workers in (1, 2)
    )
    assert together.hashes() == alone.hashes()
    *_, last = alone.records(Step)
    samples = [shard.end - shard.start for part in last.contributions for shard in part.shards]
    assert (samples, last.divisor) == ([2, 0, 0, 0, 0, 0, 0, 0], 2.0)


def test_another_number_of_shards_is_another_run(alone: Cluster, tmp_path: Path) -> None:
    other = undisturbed(tmp_path, shards=4)
    assert other.hashes()[-1] != alone.hashes()[-1], "the number of shards is part of the arithmetic"
