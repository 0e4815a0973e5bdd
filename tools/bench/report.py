"""The results as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from tools.bench.benchmark import Pair
from tools.bench.figures import spread
from tools.bench.rounds import Result


def as_json(machine: dict[str, Any], results: list[Result]) -> dict[str, Any]:
    """Everything that was measured: every value of every round, and the figures that are derived from them."""
    return {"machine": machine, "results": [_result(result) for result in results]}


def _result(result: Result) -> dict[str, Any]:
    benchmark = result.benchmark
    return {
        "suite": result.suite,
        "benchmark": benchmark.name,
        "measures": benchmark.measures,
        "unit": benchmark.unit,
        "more_is_better": benchmark.more_is_better,
        "loads": list(result.loads),
        "contenders": [
            {
                "name": contender,
                "values": result.values(contender),
                **dataclasses.asdict(spread(result.values(contender))),
                "work": result.samples[contender][0].work,
                "outcomes": [sample.outcome for sample in result.samples[contender]],
                "details": result.details(contender),
                "cores": result.cores(contender),
                "settings": result.settings(contender),
            }
            for contender in benchmark.contenders
        ],
        "speedups": [_pair(result, pair) for pair in benchmark.pairs],
    }


def _pair(result: Result, pair: Pair) -> dict[str, Any]:
    """The ratio, and what belongs to it: the difference, the processor time of both, and the goal."""
    ratio, difference = result.speedup(pair), result.difference(pair)
    told: dict[str, Any] = {"ours": pair.ours, "peer": pair.peer, **dataclasses.asdict(ratio)}
    told["difference"] = dataclasses.asdict(difference)
    told["cores"] = [sum(result.cores(name).values()) for name in (pair.ours, pair.peer)]
    if pair.goal is not None:
        median = ratio.median if pair.goal.figure == "ratio" else difference.median
        told["goal"] = {**dataclasses.asdict(pair.goal), "reached": pair.goal.reached(median)}
    return told
