"""Runs one suite at a tiny size with real processes: the figures exist, and ours and the peer did the same work; speed
is not asserted."""

import math
import os
from pathlib import Path

import pytest

from tools.bench.rounds import measure
from tools.bench.suites.registry import SUITES

# What each suite has to report, even after changes.
FIGURES = {
    "train": {"digits, whole job": 1, "cnn": 1},
    "shards": {"digits": 1},
    "recover": {"kill -9 of a worker": 1},
    "data": {"CSV, 64 columns": 3, "memory, 784 columns": 3},
    "aggregate": {"1 MB, 2 workers": 4},
    "growth": {"1 MB": 1},
    "tls": {"1 MB": 1, "connect": 1},
    "ledger": {"commit under load": 1},
    "checkpoint": {"0.2 MB": 1},
}


def test_every_suite_has_a_test() -> None:
    assert os.environ["SUITES"].split() == list(SUITES) == list(FIGURES)


def test_the_suite_has_all_its_figures(tmp_path: Path) -> None:
    suite = os.environ["SUITE"]
    results = [measure(suite, benchmark, 1, tmp_path, print) for benchmark in SUITES[suite](True)]
    assert {result.benchmark.name: len(result.benchmark.pairs) for result in results} == FIGURES[suite]
    for result in results:
        for contender in result.benchmark.contenders:
            [sample] = result.samples[contender]
            for name, figure in {"value": sample.value, **sample.details, **sample.cores}.items():
                assert math.isfinite(figure) and figure > 0, f"{contender}: {name} is {figure}"
            assert sample.work > 0
        for pair in result.benchmark.pairs:
            [ours], [peer] = result.samples[pair.ours], result.samples[pair.peer]
            assert ours.work == peer.work, pair
            assert ours.outcome == pytest.approx(peer.outcome, rel=result.benchmark.tolerance), pair
            assert result.speedup(pair).median > 0
