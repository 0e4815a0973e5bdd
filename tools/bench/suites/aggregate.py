"""Suite `aggregate`: how long workers on one machine take to add up a gradient, through the orchestrator or with Gloo,
and how far both are from what memory allows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.rundir.layout import ORCHESTRATOR, Addresses, port_file
from pangea.services.options import RunOptions
from pangea.services.programs import IDENTITY, start_orchestrator
from tools.bench import processes, run_settings
from tools.bench.benchmark import Benchmark, Goal, Pair, Sample

_GLOO, _FLOOR = "Gloo all_reduce", "copy and add, 1 thread"
_OURS = {f"pangea, {transport}": transport for transport in run_settings.TRANSPORTS}
_SMALLEST_RATIO = {run_settings.SHARED_MEMORY: {2: 2.5, 4: 3.0}, run_settings.TCP: {2: 0.7, 4: 0.7}}


def exchange(
    folder: Path,
    transport: str,
    elements: int,
    times: int,
    warm_up: int,
    world: int,
    shards: int,
    identities: Path | None = None,
) -> tuple[list[float], Sample]:
    """Adds up a gradient of `world` workers through an orchestrator.

    With `identities`, which has an identity directory for each kind of process, what goes over TCP is encrypted.

    Returns:
        the seconds of each exchange, and a sample of their median in ms.
    """
    (folder / "run" / "logs").mkdir(parents=True)
    options = RunOptions(
        epochs=1,
        batch_size=shards,
        shards=shards,
        seed=0,
        min_shard_samples=1,
        checkpoint_seconds=0,
        # On a busy machine, shards of a worker that waits for a core would be leased to another one as well.
        straggler_k=1e9,
    )
    environment = {} if identities is None else {IDENTITY: str(identities / ORCHESTRATOR)}
    orchestrator = start_orchestrator(folder / "run", "bench", options, environment=environment)
    try:
        ready = orchestrator.wait_ready(port_file(folder / "run", ORCHESTRATOR), processes.PATIENCE_SECONDS)
        addresses = Addresses(**ready)
        job = {
            "elements": elements,
            "times": times,
            "warm_up": warm_up,
            "world": world,
            "shards": shards,
            "orchestrator": run_settings.orchestrator_address(addresses, transport),
            "transport": transport,
            "identity": None if identities is None else str(identities / "worker"),
            "shares_memory": transport == run_settings.SHARED_MEMORY,
            "services": {"orchestrator": orchestrator.process.pid},
        }
        programs = [processes.start("exchange_pangea", folder, rank, job) for rank in range(world)]
        answers = processes.results(folder, programs)
    finally:
        orchestrator.stop()
    return _sample(answers, elements, run_settings.of_ledger(folder / "run"))


@dataclass(frozen=True)
class AggregateBenchmark:
    """A float32 gradient with a number of elements of each of `world` workers, added up a number of times."""

    name: str
    elements: int
    times: int
    world: int
    # Until memory is reused: the orchestrator keeps some sums for workers that have to catch up.
    warm_up: int = 2
    unit: str = "ms"
    more_is_better: bool = False
    contenders: Sequence[str] = (*_OURS, _GLOO, _FLOOR)
    tolerance: float = 1e-9

    @property
    def pairs(self) -> Sequence[Pair]:
        """Each transport against Gloo, and against the floor."""
        against_gloo = [
            Pair(ours, _GLOO, Goal(_SMALLEST_RATIO[transport][self.world])) for ours, transport in _OURS.items()
        ]
        return [*against_gloo, *(Pair(ours, _FLOOR) for ours in _OURS)]

    @property
    def measures(self) -> str:
        """What is timed, in one sentence."""
        return (
            f"Adding up a gradient of {self.elements * 4 / 1e6:g} MB of {self.world} workers, which is in the worker's "
            "own memory: from the moment all have theirs until the slowest one has the sum. "
            "Through the orchestrator that includes copies, hashes, the check for NaN, and the step's record in the "
            "ledger, on the disk. The floor is one thread that copies all gradients and adds the copies."
        )

    def run(self, contender: str, folder: Path) -> Sample:
        """The median over the times after the warm-up, each that of the slowest worker."""
        if contender in _OURS:
            transport = _OURS[contender]
            return exchange(folder, transport, self.elements, self.times, self.warm_up, self.world, self.world)[1]
        world = 1 if contender == _FLOOR else self.world
        program = "exchange_floor" if contender == _FLOOR else "exchange_gloo"
        job = {
            "elements": self.elements,
            "times": self.times,
            "warm_up": self.warm_up,
            "world": world,
            "workers": self.world,
        }
        answers = processes.results(folder, [processes.start(program, folder, rank, job) for rank in range(world)])
        return _sample(answers, self.elements, {})[1]


def _sample(answers: list[dict[str, Any]], elements: int, settings: Mapping[str, str]) -> tuple[list[float], Sample]:
    slowest = [max(all_of_one) for all_of_one in zip(*(answer["seconds"] for answer in answers), strict=True)]
    seconds = statistics.median(slowest)
    cores = {name: 0.0 for answer in answers for name in answer["cores"]}
    for answer in answers:
        for name, value in answer["cores"].items():
            cores[name] += 1e3 * value
    sample = Sample(
        1e3 * seconds,
        len(slowest) * elements,
        answers[0]["mean"],
        {"GB/s": elements * 4 / 1e9 / seconds, "fastest ms": 1e3 * min(slowest)},
        cores,
        {**answers[0]["settings"], **settings},
    )
    return slowest, sample


def benchmarks(quick: bool) -> list[Benchmark]:
    """100 MB and 10 MB, two and four workers."""
    if quick:
        return [AggregateBenchmark("1 MB, 2 workers", 250_000, 4, 2)]
    return [
        AggregateBenchmark("100 MB, 2 workers", 25_000_000, 18, 2, warm_up=6),
        AggregateBenchmark("100 MB, 4 workers", 25_000_000, 14, 4, warm_up=6),
        AggregateBenchmark("10 MB, 2 workers", 2_500_000, 70, 2, warm_up=30),
        AggregateBenchmark("10 MB, 4 workers", 2_500_000, 70, 4, warm_up=30),
    ]
