"""An audit proves that a run kept its promises, and refutes each violation by the exact record."""

import io
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from pangea.ledger.audit import audit_ledger, tree_sum
from pangea.ledger.fixtures import checkpoint, digest, opening, parameters, run, step, without_weights, written
from pangea.ledger.reader import Hash, Reader

Records = list[dict[str, Any]]


def report(records: Records) -> Any:
    return audit_ledger(io.BytesIO(written(records)))


def test_the_promises_hold_for_a_finished_run() -> None:
    found = report(run())
    assert found.holds
    assert (found.audit.steps, found.audit.samples, found.records) == (6, 50, len(run()))
    assert found.audit.parameters_after(6) == parameters(6)


@pytest.mark.parametrize("count", range(1, len(run())))
def test_the_promises_hold_for_each_prefix_of_a_run(count: int) -> None:
    assert report(run()[:count]).holds


def leaf(record: dict[str, Any], shard: int) -> dict[str, Any]:
    return next(one for part in record["contributions"] for one in part["shards"] if one["shard"] == shard)


def edited(edit: Callable[[Records], None]) -> Records:
    records = run()
    edit(records)
    return records


# Records 5 to 8 are the steps 0 to 3, 13 and 14 the steps 4 and 5.
REFUTED: dict[str, tuple[Callable[[Records], Any], str, str, int | None]] = {
    "no settings": (lambda r: r.pop(0), "begin", "the first record is not the settings", 0),
    "settings twice": (lambda r: r.append(r[0]), "begin", "a second time", 16),
    "model twice": (lambda r: r.insert(5, r[2]), "begin", "the model is recorded a second time", 5),
    "a step before the model": (lambda r: r.insert(2, r[5]), "begin", "before the settings and the model", 2),
    "a wrong number of steps": (
        lambda r: r[2].update(total_steps=7),
        "begin",
        "are 6 steps, 3 per epoch; the model record has 7 and 3",
        2,
    ),
    "a step is missing": (
        lambda r: r.pop(6),
        "steps",
        "step 2 is recorded where step 1 is expected; step 1 is missing",
        6,
    ),
    "two steps are missing": (lambda r: (r.pop(6), r.pop(6)), "steps", "steps 1 to 2 are missing", 6),
    "a step twice": (
        lambda r: r.insert(7, r[6]),
        "steps",
        "step 1 is recorded where step 2 is expected; it is repeated or out of order",
        7,
    ),
    "a step in another epoch": (
        lambda r: r[6].update(epoch=1),
        "steps",
        "step 1 is step 1 of epoch 0, but its record has step 1 of epoch 1",
        6,
    ),
    "a start with a different number of steps": (
        lambda r: r[9].update(step=3),
        "steps",
        "started with 3 steps, but the ledger has 4",
        9,
    ),
    "a shard twice": (
        lambda r: r[6]["contributions"].append(r[6]["contributions"][1]),
        "shards",
        "shard 2 is in the sum 2 times",
        6,
    ),
    "a shard is missing": (lambda r: r[6]["contributions"].pop(), "shards", "shard 3 is in the sum 0 times", 6),
    "a shard beyond the last": (
        lambda r: leaf(r[6], 3).update(shard=4),
        "shards",
        "there is no shard 4, as a step has 4",
        6,
    ),
    "not a node of the tree": (
        lambda r: r[13].update(step(4, ((0, 1), (1, 2), (3, 1)))),
        "shards",
        r"the shards \[1, 3\) of worker 2 are not a node",
        13,
    ),
    "a sample twice": (
        lambda r: leaf(r[6], 1).update({"from": 11}),
        "samples",
        r"the positions \[11, 12\) are counted again in step 1, shard 1",
        6,
    ),
    "a sample is missing": (
        lambda r: leaf(r[6], 1).update({"from": 13}),
        "samples",
        r"the positions \[12, 13\) are not counted before step 1, shard 1",
        6,
    ),
    "samples of another shard": (
        lambda r: leaf(r[6], 1).update({"from": 13}),
        "samples",
        r"shard 1 has the positions \[13, 15\) instead of \[12, 15\)",
        6,
    ),
    "more samples than the dataset has": (
        lambda r: leaf(r[7], 3).update(to=26),
        "samples",
        "counts positions up to 26, but an epoch uses 25",
        7,
    ),
    "an epoch that ends early": (
        lambda r: r.pop(7),
        "samples",
        r"epoch 0: the positions \[20, 25\) are not counted",
        7,
    ),
    "a wrong number of samples": (
        lambda r: r[6].update(samples=11),
        "samples",
        "its shards have 10 samples, but its record has 11",
        6,
    ),
    "a wrong weight": (
        lambda r: leaf(r[6], 2).update(weight=2.5),
        "weights",
        "step 1: its divisor is 7.5, but its shards give 8.5",
        6,
    ),
    "a wrong divisor": (
        lambda r: r[6].update(divisor=7.500000000000001),
        "weights",
        "step 1: its divisor is 7.500000000000001, but its shards give 7.5",
        6,
    ),
    "no weight": (lambda r: leaf(r[6], 2).pop("weight"), "weights", "step 1: shard 2 has no weight", 6),
    "no divisor": (lambda r: r[6].pop("divisor"), "weights", "step 1 has no divisor", 6),
    "a weight that is not a number": (
        lambda r: leaf(r[6], 2).update(weight=None),
        "weights",
        "step 1: shard 2 has the weight nan",
        6,
    ),
    "a negative weight": (
        lambda r: leaf(r[6], 2).update(weight=-0.5),
        "weights",
        "step 1: shard 2 has the weight -0.5",
        6,
    ),
    "sums and means": (
        lambda r: leaf(r[6], 2).update(summed=True),
        "weights",
        "step 1: the losses of some shards are sums",
        6,
    ),
    "sums that are divided": (
        lambda r: [one.update(summed=True) for part in r[6]["contributions"] for one in part["shards"]],
        "weights",
        "its divisor is 7.5, but its shards give 1.0",
        6,
    ),
    "a wrong loss": (
        lambda r: leaf(r[6], 2).update(loss_sum=0.30000000000000010),
        "losses",
        "step 1: the losses of its shards add up to",
        6,
    ),
    "a sum in a different order": (
        lambda r: r[6].update(loss_sum=((0.1 + 0.2) + 0.30000000000000004) + 0.4 + 1e-15),
        "losses",
        "add up to",
        6,
    ),
    "a worker that has not joined": (
        lambda r: r[6]["contributions"][0].update(worker=9),
        "workers",
        "worker 9, which contributed",
        6,
    ),
    "a worker twice": (lambda r: r[4].update(id=1), "workers", "worker 1 joins a second time", 4),
    "a worker from the future": (
        lambda r: r[4].update(step=1),
        "workers",
        "worker 2 has applied 1 steps, but the ledger has 0",
        4,
    ),
    "different initial parameters": (
        lambda r: r[5].update(params_hash=digest("x")),
        "parameters",
        "step 0 began with parameters",
        5,
    ),
    "an unknown format": (
        lambda r: r[0].update(format=4),
        "begin",
        "the ledger has format 4; this release knows 1 to 3",
        0,
    ),
    "a checkpoint with different parameters": (
        lambda r: r[11].update(params_hash=digest("x")),
        "parameters",
        "the run had",
        11,
    ),
    "a checkpoint of the future": (
        lambda r: r[11].update(checkpoint(5)),
        "parameters",
        "is of step 5, but the ledger has 4 steps",
        11,
    ),
    "a checkpoint elsewhere": (
        lambda r: r[11].update(file="../x.safetensors"),
        "parameters",
        r"has the file .\.\./x.safetensors. instead of checkpoints/step-0000000004.safetensors",
        11,
    ),
    "an early end": (lambda r: r.pop(14), "end", "finished after 6 steps; the ledger has 5 of 6", 14),
    "two ends": (lambda r: r.append(r[15]), "end", "finishes a second time", 16),
    "a step after the end": (lambda r: r.insert(14, r.pop()), "end", "step 5 is recorded after the end", 15),
}


@pytest.mark.parametrize("name", REFUTED)
def test_a_violation_is_refuted_by_its_record(name: str) -> None:
    edit, promise, detail, record = REFUTED[name]
    found = report(edited(edit))
    assert not found.holds
    rows = found.audit.findings[promise].rows
    assert any(
        re.search(detail, row.detail) and row.record == record and row.line == (record or 0) + 3 for row in rows
    ), rows


def test_the_promises_hold_for_a_ledger_of_format_1() -> None:
    records = [without_weights(record) for record in run()]
    found = report(records)
    assert found.holds and found.audit.weight == found.audit.samples == 50
    # A run that was resumed by a later release has records of both formats.
    assert report([*records[:13], *run()[13:]]).holds


def test_for_summed_losses_the_divisor_is_1() -> None:
    records = run()
    for record in records:
        if record["type"] == "step":
            record["divisor"] = 1.0
            for part in record["contributions"]:
                for shard in part["shards"]:
                    shard["summed"] = True
    assert report(records).holds


def test_an_empty_ledger_is_refuted() -> None:
    assert "no run was started" in audit_ledger(io.BytesIO(b"")).audit.findings["begin"].rows[0].detail


def test_damage_is_refuted_by_its_record_and_the_records_before_it_are_checked() -> None:
    content = bytearray(written(run()))
    entries = list(Reader(io.BytesIO(bytes(content))))
    content[entries[7].offset + 100] ^= 1
    found = audit_ledger(io.BytesIO(bytes(content)))
    assert (found.audit.findings["chain"].rows[0].record, found.audit.steps) == (7, 2)
    assert not found.holds


def test_a_rollback_is_detected_by_an_earlier_head() -> None:
    whole, older = report(run()), report(run()[:-1])
    assert older.holds and whole.holds
    later = audit_ledger(io.BytesIO(written(run())), expect=older.head)
    assert later.holds
    back = audit_ledger(io.BytesIO(written(run()[:-1])), expect=whole.head)
    assert not back.holds
    assert "a rollback" in back.expected.rows[0].detail  # type: ignore[union-attr]
    assert not audit_ledger(io.BytesIO(written(run())), expect=Hash("f" * 64)).holds


def test_losses_are_summed_in_the_tree() -> None:
    assert tree_sum([1e16, 1.0, -1e16, 1.0]) == (1e16 + 1.0) + (-1e16 + 1.0) != sum([1e16, 1.0, -1e16, 1.0])


def test_a_long_ledger_is_audited() -> None:
    records = opening()
    records[0].update(shards=8, batch_size=64, epochs=5)
    records[2]["dataset"]["train_samples"] = 64_000
    records[2].update(epoch_steps=1000, total_steps=5_000)
    records += [step(number, ((0, 8),), 8, 64, 64_000) for number in range(5_000)]
    content = written(records)
    started = time.perf_counter()
    found = audit_ledger(io.BytesIO(content))
    print(f"{5_000 / (time.perf_counter() - started):,.0f} steps of 8 shards per second")
    assert found.holds and found.audit.samples == 5 * 64_000
