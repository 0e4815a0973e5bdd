"""A history that was tampered with is refuted for the right reason."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pangea.ledger.fixtures import added, records_of, written
from tests.simulation import checker
from tests.simulation.checker import History, check, content_hash, undisturbed
from tests.simulation.histories import histories

Edit = Callable[[list[dict[str, Any]]], Any]


def first(fits: Callable[[History], bool]) -> History:
    """The first history that fits and in which nothing is wrong."""
    for history in histories(0, 400):
        if not history["lies"] and history["epochs"] > 1 and history["elements"] > 2 and fits(history):
            assert check(history) == []
            return history
    raise AssertionError("no history fits")


@pytest.fixture(scope="module")
def whole() -> History:
    """A history with 8 shards, none of them empty, and enough steps."""
    return first(
        lambda h: (
            h["shards"] == 8
            and h["min_shard_samples"] < 2
            and h["batch_size"] >= 8
            and h["weights"] == "samples"
            and not h["drop_last"]
        )
    )


@pytest.fixture(scope="module")
def merged() -> History:
    """A history whose last step is cut into fewer shards than the others, with unequal weights."""

    def fits(history: History) -> bool:
        used = {sum(count > 0 for count in step.samples) for step in undisturbed(history)}
        return (
            history["weights"] == "unequal"
            and not history["drop_last"]
            and history["min_shard_samples"] > 1
            and len(used) > 1
            and max(used) > 2
        )

    return first(fits)


def refuted(history: History, reason: str) -> None:
    found = check(history)
    assert any(reason in one for one in found), found


def in_ledger(history: History, edit: Edit) -> History:
    """The history with edited records, chained and committed correctly."""
    records = records_of(history["ledger"].encode())
    edit(records)
    return {**history, "ledger": written(records).decode()}


def steps(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["type"] == "step"]


def flip(text: str, position: int = 0) -> str:
    data = bytearray.fromhex(text)
    data[position] ^= 1
    return data.hex()


LEDGER: dict[str, tuple[Edit, str]] = {
    "a step is dropped": (
        lambda r: r.remove(steps(r)[2]),
        "step 3 is recorded where step 2 is expected; step 2 is missing",
    ),
    "a step comes twice": (
        lambda r: r.insert(r.index(steps(r)[2]), steps(r)[2]),
        "step 2 is recorded where step 3 is expected",
    ),
    "a shard is counted twice": (
        lambda r: steps(r)[1]["contributions"].append(steps(r)[1]["contributions"][-1]),
        "is in the sum 2 times",
    ),
    "a shard is left out": (
        lambda r: steps(r)[1]["contributions"][0]["shards"].pop(0),
        "shard 0 is in the sum 0 times",
    ),
    "another sum": (
        lambda r: steps(r)[1].update(aggregate_hash=flip(steps(r)[1]["aggregate_hash"])),
        "step 1 of the ledger has the aggregate_hash",
    ),
    "other parameters": (
        lambda r: steps(r)[1].update(params_hash=flip(steps(r)[1]["params_hash"])),
        "step 1 of the ledger has the params_hash",
    ),
    "another batch": (
        lambda r: steps(r)[1]["contributions"][0]["shards"][0].update(batch_hash="0" * 64),
        "step 1 of the ledger has the batches",
    ),
    "another loss": (
        lambda r: steps(r)[1].update(loss_sum=steps(r)[1]["loss_sum"] + 0.125),
        "the losses of its shards add up to",
    ),
    "other samples": (
        lambda r: steps(r)[1]["contributions"][-1]["shards"][-1].update(to=0),
        "not counted before step 2",
    ),
    "no end": (lambda r: r.remove(next(one for one in r if one["type"] == "finished")), "or with different parameters"),
}


@pytest.mark.parametrize("name", LEDGER)
def test_a_ledger_that_was_rewritten(whole: History, name: str) -> None:
    edit, reason = LEDGER[name]
    refuted(in_ledger(whole, edit), reason)


def set_weight(record: dict[str, Any], shard: int, value: float) -> None:
    """Changes a weight, and the divisor so that the ledger alone does not show it."""
    leaves = [leaf for part in record["contributions"] for leaf in part["shards"]]
    leaves[shard]["weight"] = value
    record["divisor"] = added(leaf["weight"] for leaf in leaves)


def unmerge(record: dict[str, Any]) -> None:
    """Cuts a step as if no shards were merged."""
    leaves = [leaf for part in record["contributions"] for leaf in part["shards"]]
    first, size = leaves[0]["from"], record["samples"]
    for shard, leaf in enumerate(leaves):
        leaf.update({"from": first + size * shard // len(leaves), "to": first + size * (shard + 1) // len(leaves)})


def last_of_epoch(records: list[dict[str, Any]]) -> dict[str, Any]:
    epoch = [record for record in steps(records) if record["epoch"] == 0]
    return epoch[-1]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda r: set_weight(steps(r)[1], 0, 0.125), "step 1 of the ledger has the weights"),
        (lambda r: steps(r)[1].update(divisor=steps(r)[1]["divisor"] + 0.125), "step 1: its divisor is"),
        (lambda r: unmerge(last_of_epoch(r)), "has the positions"),
        (lambda r: r[0].update(min_shard_samples=0), "the ledger is not of this run"),
        (lambda r: r[0].update(drop_last=True), "steps, "),
        (
            lambda r: r.insert(
                [record["type"] for record in r].index("finished"),
                {
                    "type": "stop",
                    "steps": len(steps(r)),
                    "reason": "nobody",
                    "worker": 1,
                    "name": "w",
                    "time": r[1]["time"],
                },
            ),
            "no script asked for that: nobody",
        ),
    ],
)
def test_weights_and_merged_shards(merged: History, edit: Edit, reason: str) -> None:
    refuted(in_ledger(merged, edit), reason)


def test_a_wrong_divisor_is_noticed_where_it_is_given(merged: History) -> None:
    history = copy.deepcopy(merged)
    history["deliveries"][3]["divisor"] += 1
    refuted(history, f"was told to divide step {history['deliveries'][3]['step']} by")


def test_a_commit_that_is_lost(whole: History) -> None:
    refuted(in_ledger(whole, lambda records: records.pop()), "was acknowledged, but is no longer in the ledger")


def test_two_operands_of_the_tree_that_change_places(whole: History, monkeypatch: pytest.MonkeyPatch) -> None:
    # (a + c) + (b + d) is not always (a + b) + (c + d): a run that adds in this order is detected.
    right = list(undisturbed(whole))

    def swapped(sums: checker.Vector) -> checker.Vector:
        total: checker.Vector = add_up(sums[[0, 2, 1, 3, 4, 5, 6, 7]])
        return total

    add_up = checker.add_up
    monkeypatch.setattr(checker, "add_up", swapped)
    wrong = list(undisturbed(whole))
    monkeypatch.undo()
    other = next(number for number, (a, b) in enumerate(zip(right, wrong, strict=True)) if a.aggregate != b.aggregate)
    history = copy.deepcopy(whole)
    for delivery in history["deliveries"]:
        if delivery["step"] == other:
            delivery.update(aggregate=wrong[other].aggregate.hex(), hash=content_hash(wrong[other].aggregate))
    refuted(history, f"a worker was given a sum of step {other} that is not that of the undisturbed run")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (
            lambda h: h["deliveries"][3].update(aggregate=flip(h["deliveries"][3]["aggregate"])),
            "that is not that of the undisturbed run",
        ),
        (lambda h: h["deliveries"][3].update(hash=flip(h["deliveries"][3]["hash"])), "with a different hash"),
        (
            lambda h: h["deliveries"][3].update(acknowledged=h["deliveries"][3]["acknowledged"] - 1000),
            "before it was committed",
        ),
        (
            lambda h: h.update(deliveries=[d for d in h["deliveries"] if d["step"] != 2]),
            "nobody was given the sum of step 2",
        ),
        (lambda h: h["hashes"].update({"2": flip(h["hashes"]["2"])}), "which the undisturbed run does not have"),
        (lambda h: h.update(final=flip(h["final"])), "the final parameters are not those of the undisturbed run"),
        (lambda h: h["metrics"].pop(1), "the lines of metrics are of the steps"),
        (
            lambda h: h["metrics"][1].update(params_hash=flip(h["metrics"][1]["params_hash"])),
            "the line of step 1 has the params_hash",
        ),
        (
            lambda h: h["metrics"][1].update(loss=h["metrics"][1]["loss"] * 1.0000000000000002),
            "the line of step 1 has the loss",
        ),
        (lambda h: h["violations"].append("something"), "the simulation noticed: something"),
    ],
)
def test_what_workers_and_people_were_given(whole: History, edit: Callable[[History], Any], reason: str) -> None:
    history = copy.deepcopy(whole)
    edit(history)
    refuted(history, reason)
