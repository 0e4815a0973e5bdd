"""Runs the simulation and yields its histories."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.simulation.checker import History, check, cut


class SimulationFailed(RuntimeError):
    """The simulation ended with an error."""


def histories(first: int, count: int, sabotage: str = "") -> Iterator[History]:
    """Yields the histories of the seeds [first, first + count) as they are played: the program waits for its reader."""
    yield from _played(first, count, *(["--sabotage", sabotage] if sabotage else []))


def images(first: int, count: int) -> Iterator[dict[str, Any]]:
    """Yields the ledgers that the processes of these seeds find when they start, and what Go reads in them."""
    for one in _played(first, count, "--images"):
        yield from one


def _played(first: int, count: int, *options: str) -> Iterator[Any]:
    command = [os.environ["SIMULATE"], "--first", str(first), "--count", str(count), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
        if process.wait() != 0:
            raise SimulationFailed(f"{' '.join(command)} ended with exit code {process.returncode}")


def history(seed: int) -> History:
    """The history of one seed."""
    (only,) = histories(seed, 1)
    return only


def replay(seed: int) -> str:
    """The command that plays a history again and logs what happens."""
    return f"./bazelw run //services/go-orchestrator/simulate -- --first {seed} --trace"


def _exercised(history: History) -> dict[str, int]:
    shards, rest = history["shards"], history["train_samples"] % history["batch_size"]
    last = rest if rest and not history["drop_last"] else history["batch_size"]
    return {
        "liars caught": history["sent_away"],
        "shards merged": int(cut(last, shards, history["min_shard_samples"]) != cut(last, shards, 1)),
        "samples left out": int(bool(rest) and history["drop_last"]),
        "unequal weights": int(history["weights"] == "unequal"),
        "losses that are sums": int(history["weights"] == "summed"),
    }


def judge(first: int, count: int) -> tuple[dict[int, list[str]], dict[str, int]]:
    """Checks the seeds [first, first + count).

    Returns:
        What is wrong, by seed; and how often each kind of fault and each feature of a history occurred.
    """
    wrong: dict[int, list[str]] = {}
    faults: dict[str, int] = {}
    for one in histories(first, count):
        if found := check(one):
            wrong[one["seed"]] = found
        for kind, times in {**one["faults"], **_exercised(one)}.items():
            faults[kind] = faults.get(kind, 0) + times
    return wrong, faults


def judge_all(first: int, count: int, block: int = 50) -> tuple[dict[int, list[str]], dict[str, int]]:
    """As `judge`, on all processors."""
    wrong: dict[int, list[str]] = {}
    faults: dict[str, int] = {}
    starts = range(first, first + count, block)
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part, kinds in pool.map(judge, starts, [min(block, first + count - start) for start in starts]):
            wrong.update(part)
            for kind, times in kinds.items():
                faults[kind] = faults.get(kind, 0) + times
    return wrong, faults
