"""The tree is the one that the orchestrator adds in: both read the same file, which neither has made."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from pangea.training.tree import Node, merge

GOLDEN: dict[str, Any] = json.loads(Path(os.environ["TREE"]).read_bytes())
LEAVES = [torch.tensor(struct.unpack(">f", bytes.fromhex(bits))) for bits in GOLDEN["leaves"]]


def bits_of(value: torch.Tensor) -> str:
    """The bits of a float32 in hexadecimal."""
    return struct.pack(">f", value.item()).hex()


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{len(case['held'])}-of-{case['held'][-1] + 1}")
def test_the_same_ranges_are_added_in_the_same_order(case: dict[str, Any]) -> None:
    roots = [Node(root["first"], root["count"], root["sum"]) for root in case["roots"]]
    assert (
        merge({shard: str(shard) for shard in case["held"]}, lambda left, right: f"({left}+{right})", case["separate"])
        == roots
    )
    sums = merge({shard: LEAVES[shard] for shard in case["held"]}, torch.add, case["separate"])
    assert [bits_of(root.value) for root in sums] == [root["bits"] for root in case["roots"]]


@pytest.mark.parametrize(("shards", "bits"), GOLDEN["totals"].items())
def test_totals(shards: str, bits: str) -> None:
    (total,) = merge(dict(enumerate(LEAVES[: int(shards)])), torch.add)
    assert bits_of(total.value) == bits
