"""Ledgers for tests, written in Python: valid ones, and records from which tests make invalid ones."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pangea.ledger.reader import NO_CHAIN, RECORDS_FROM, Slot, chain_hash, slot_line

TIME = "2026-01-02T03:04:05.000000006Z"
SHARDS, BATCH, SAMPLES, EPOCHS = 4, 10, 25, 2
Fields = dict[str, Any]


def written(records: list[Fields]) -> bytes:
    """The content of a ledger file with these records, all of them committed."""
    chain, lines = NO_CHAIN, b""
    before = Slot(0, RECORDS_FROM, NO_CHAIN)
    for number, record in enumerate(records):
        body = json.dumps(record, separators=(",", ":")).encode()
        if number == len(records) - 1:
            before = Slot(number, RECORDS_FROM + len(lines), chain)
        chain = chain_hash(chain, body)
        lines += b'{"chain":"%s","record":%s}\n' % (chain.encode(), body)
    return slot_line(0, before) + slot_line(1, Slot(len(records), RECORDS_FROM + len(lines), chain)) + lines


def records_of(content: bytes) -> list[Fields]:
    """The records in the content of a ledger file."""
    return [json.loads(line)["record"] for line in content[RECORDS_FROM:].splitlines()]


def digest(text: object) -> str:
    """A hash that is a function of the text."""
    return chain_hash(NO_CHAIN, str(text).encode())


def parameters(steps: int) -> str:
    """The hash of the sample run's parameters after `steps` steps."""
    return digest(f"parameters {steps}")


def step(
    number: int,
    groups: tuple[tuple[int, int], ...] = ((0, 2), (2, 1), (3, 1)),
    shards: int = SHARDS,
    batch: int = BATCH,
    samples: int = SAMPLES,
    positions: dict[int, list[tuple[int, int]]] | None = None,
) -> Fields:
    """A valid record of step `number`.

    Args:
        number: of the step, from 0.
        groups: (first, count) of its contributions.
        shards, batch, samples: the settings of the run.
        positions: the positions of its shards by step of the epoch, for steps with merged shards.
    """
    epoch, epoch_step = divmod(number, -(-samples // batch))
    first = epoch_step * batch
    size = min(batch, samples - first)
    cut = (positions or {}).get(epoch_step) or [
        (first + size * shard // shards, first + size * (shard + 1) // shards) for shard in range(shards)
    ]
    leaves = [
        {
            "shard": shard,
            "from": start,
            "to": end,
            "loss_sum": 0.1 * (shard + 1),
            "weight": 0.75 * (end - start),
            "batch_hash": digest(f"batch {epoch} {epoch_step} {shard}"),
        }
        for shard, (start, end) in enumerate(cut)
    ]
    return {
        "type": "step",
        "step": number,
        "epoch": epoch,
        "epoch_step": epoch_step,
        "samples": size,
        "loss_sum": added(leaf["loss_sum"] for leaf in leaves),
        "divisor": added(leaf["weight"] for leaf in leaves),
        "aggregate_hash": digest(f"aggregate {number}"),
        "params_hash": parameters(number),
        "seconds": 0.25,
        "workers": 2,
        "time": TIME,
        "contributions": [
            {"first": start, "count": count, "worker": 1 + i % 2, "shards": leaves[start : start + count]}
            for i, (start, count) in enumerate(groups)
        ],
    }


def added(values: Iterable[Any]) -> float:
    """The sum in the fixed tree, by an implementation that is independent of the audit's."""
    level = list(values)
    while len(level) > 1:
        level = [level[i] + level[i + 1] for i in range(0, len(level), 2)]
    return float(level[0])


def without_weights(record: Fields) -> Fields:
    """The same record in format 1, which has no weights."""
    record = copy.deepcopy(record)
    if record["type"] == "settings":
        del record["min_shard_samples"], record["drop_last"], record["content_hash"]
        record["format"] = 1
    if record["type"] == "step":
        del record["divisor"]
        for part in record["contributions"]:
            for leaf in part["shards"]:
                del leaf["weight"]
    return record


def opening() -> list[Fields]:
    """The records before the first step."""
    spec = {"name": "features", "dtype": "float32", "shape": [8]}
    dataset = {
        "name": "sample",
        "hash": digest("data"),
        "train_samples": SAMPLES,
        "held_out_samples": 3,
        "classes": 10,
        "features": spec,
        "labels": {"name": "labels", "dtype": "int64", "shape": []},
    }
    epoch_steps = -(-SAMPLES // BATCH)
    model = {
        "software": "torch",
        "dataset": dataset,
        "parameters": [{"name": "weight", "dtype": "float32", "shape": [2, 8]}],
        "params_hash": parameters(0),
    }
    return [
        {
            "type": "settings",
            "format": 3,
            "run_id": "sample",
            "seed": 7,
            "shards": SHARDS,
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "min_shard_samples": 0,
            "drop_last": False,
            "content_hash": "xxh3Tree",
        },
        {"type": "start", "time": TIME, "step": 0},
        {"type": "model", **model, "epoch_steps": epoch_steps, "total_steps": EPOCHS * epoch_steps},
        *(
            {
                "type": "worker",
                "id": number,
                "name": f"worker-{number}",
                "pid": 10 + number,
                "software": "torch",
                "step": 0,
                "time": TIME,
            }
            for number in (1, 2)
        ),
    ]


def checkpoint(number: int, data: bytes = b"") -> Fields:
    """The record of a checkpoint with these bytes after `number` steps."""
    return {
        "type": "checkpoint",
        "step": number,
        "file": f"checkpoints/step-{number:010}.safetensors",
        "bytes": len(data),
        "sha256": sha256(data),
        "params_hash": parameters(number),
    }


def incident(kind: str, number: int, worker: int = 0, other: int = 0, shards: tuple[int, int] = (0, 0)) -> Fields:
    """The record of an incident while step `number` is open; `shards` is (first, count)."""
    name = f"worker-{worker}" if worker else ""
    record = {
        "type": "incident",
        "kind": kind,
        "step": number,
        "first": shards[0],
        "count": shards[1],
        "worker": worker,
        "name": name,
        "detail": f"a {kind}",
        "time": TIME,
    }
    return {**record, "other": other} if other else record


def sha256(data: bytes) -> str:
    """The SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def run() -> list[Fields]:
    """A finished run of 6 steps in 2 epochs, with a restart, a resolved incident and a checkpoint."""
    return copy.deepcopy(
        [
            *opening(),
            *(step(number) for number in range(4)),
            {"type": "start", "time": TIME, "step": 4},
            {"type": "worker", "id": 3, "name": "worker-1", "pid": 13, "software": "torch", "step": 4, "time": TIME},
            checkpoint(4, b"state"),
            incident("divergence", 4, worker=2),
            step(4, ((0, 4),)),
            step(5, ((0, 1), (1, 1), (2, 2))),
            {"type": "finished", "steps": 6, "params_hash": parameters(6)},
        ]
    )
