"""The suites by name."""

from __future__ import annotations

from collections.abc import Callable

from tools.bench.benchmark import Benchmark
from tools.bench.suites import aggregate, checkpoint, data, growth, ledger, recover, shards, tls, train

# Each makes its benchmarks: in full, or (`quick`) so small that their figures only show that they work.
SUITES: dict[str, Callable[[bool], list[Benchmark]]] = {
    "train": train.benchmarks,
    "shards": shards.benchmarks,
    "recover": recover.benchmarks,
    "data": data.benchmarks,
    "aggregate": aggregate.benchmarks,
    "growth": growth.benchmarks,
    "tls": tls.benchmarks,
    "ledger": ledger.benchmarks,
    "checkpoint": checkpoint.benchmarks,
}
