"""The cut of an epoch is that of the other languages, and each position of it is counted once at most."""

import io
import json
import os
from pathlib import Path
from typing import Any

from pangea.ledger.audit import Report, audit_ledger
from pangea.ledger.audit_samples import Cut
from pangea.ledger.fixtures import added, opening, parameters, step, written

Records = list[dict[str, Any]]
# 25 samples in steps of 10 over 4 shards, none with fewer than 2: the last step has two shards.
MERGED = {2: [(20, 22), (22, 22), (22, 25), (25, 25)]}


def report(records: Records) -> Report:
    return audit_ledger(io.BytesIO(written(records)))


def test_the_cut_is_that_of_the_other_languages() -> None:
    # No language's code has made this file; see libraries/order.
    cuts = json.loads(Path(os.environ["CUTS"]).read_bytes())
    assert len(cuts) > 100
    for given in cuts:
        cut = Cut(given["samples"], given["batch_size"], given["shards"], given["min_shard_samples"], given["drop_last"])
        assert (cut.steps, cut.samples - cut.used) == (given["steps"], given["left_out"]), given
        for number, wanted in given["ranges"].items():
            ranges = [(shard, *cut.shard(int(number), shard)) for shard in range(cut.shards)]
            assert [list(one) for one in ranges if one[2] > one[1]] == wanted, given


def merged() -> Records:
    records = [*opening(), *(step(number, positions=MERGED) for number in range(6)), {"type": "finished", "steps": 6, "params_hash": parameters(6)}]
    records[0]["min_shard_samples"] = 2
    return records


def test_shards_of_a_small_step_are_merged() -> None:
    found = report(merged())
    assert found.holds and found.audit.samples == 50
    unmerged = [*merged()[:7], step(2)]
    rows = report(unmerged).audit.findings["samples"].rows
    assert rows[0].detail == "step 2: shard 0 has the positions [20, 21), not [20, 22)"


def test_an_empty_shard_has_no_weight() -> None:
    records = merged()
    leaves = records[7]["contributions"][0]["shards"]
    leaves[1]["weight"] = 0.5
    records[7]["divisor"] = added(leaf["weight"] for part in records[7]["contributions"] for leaf in part["shards"])
    found = report(records)
    assert [row.detail for row in found.audit.findings["weights"].rows] == ["step 2: shard 1 has the weight 0.5, but no samples"]
    # What it says of its loss does not matter.
    leaves[1].update(weight=0.0, summed=True)
    records[7]["divisor"] = added(leaf["weight"] for part in records[7]["contributions"] for leaf in part["shards"])
    assert report(records).holds


def whole_steps() -> Records:
    """Two epochs of two whole steps; 5 samples fill none."""
    records = [*opening(), *(step(number) for number in (0, 1)), *(step(number, samples=20) for number in (2, 3))]
    records[0]["drop_last"] = True
    records[2].update(epoch_steps=2, total_steps=4)
    return [*records, {"type": "finished", "steps": 4, "params_hash": parameters(4)}]


def test_what_fills_no_step_is_left_out() -> None:
    found = report(whole_steps())
    assert found.holds and found.audit.samples == 40 and found.audit.cut is not None
    assert (found.audit.cut.samples - found.audit.cut.used, found.audit.epochs_ended) == (5, 2)
    assert found.audit.findings["samples"].sentence == "each sample of each epoch is counted at most once, and all but the last 5 of its order are"


def test_a_sample_that_is_left_out_and_counted_is_refuted() -> None:
    records = whole_steps()
    records[6]["contributions"][-1]["shards"][-1]["to"] = 21
    records[6]["samples"] = 11
    details = [row.detail for row in report(records).audit.findings["samples"].rows]
    assert "epoch 0: step 1 counts positions up to 21, where an epoch has 20 samples" in details


def test_an_epoch_that_lacks_a_whole_step_is_refuted() -> None:
    records = whole_steps()
    records.pop(6)
    assert [row.detail for row in report(records).audit.findings["samples"].rows] == ["epoch 0: the positions [10, 20) are not counted"]


def test_a_dataset_that_fills_no_step_is_no_run() -> None:
    records = opening()
    records[0].update(drop_last=True, batch_size=26)
    assert "are 0 steps, 0 an epoch" in report(records).audit.findings["begin"].rows[0].detail
