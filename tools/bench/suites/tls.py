"""Suite `tls`: what encryption and certificates cost, for gradients and for a new connection."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea import _native
from pangea.identity.store import Store
from pangea.rundir.layout import ORCHESTRATOR, Addresses, port_file
from pangea.services.options import RunOptions
from pangea.services.programs import IDENTITY, start_orchestrator
from tools.bench import processes, run_settings
from tools.bench.benchmark import Benchmark, Pair, Sample
from tools.bench.suites import aggregate

_TLS, _PLAIN = "pangea, TLS over loopback", f"pangea, {run_settings.TCP}"


def _identities(folder: Path) -> Path:
    """An identity directory for the orchestrator, and one for all workers."""
    now = dt.datetime.now(dt.UTC)
    store = Store.new(folder / "authority", "bench", 1, now)
    store.issue("orchestrator", ORCHESTRATOR, 1, now, folder / ORCHESTRATOR)
    store.issue("worker", "*", 1, now, folder / "worker")
    return folder


@dataclass(frozen=True)
class BulkBenchmark:
    """A gradient of each of two workers, added up a number of times."""

    name: str
    elements: int
    times: int
    warm_up: int
    unit: str = "ms"
    more_is_better: bool = False
    contenders: Sequence[str] = (_TLS, _PLAIN)
    pairs: Sequence[Pair] = (Pair(_TLS, _PLAIN),)
    tolerance: float = 1e-9

    @property
    def measures(self) -> str:
        """What is timed, in one sentence."""
        return (
            f"Adding up a gradient of {self.elements * 4 / 1e6:g} MB of two workers over TCP, as in `aggregate`: with "
            "TLS 1.3 (AES-128-GCM), where this machine encrypts each byte twice and decrypts it twice, and without."
        )

    def run(self, contender: str, folder: Path) -> Sample:
        """The median over the times after the warm-up, each that of the slower worker."""
        identities = _identities(folder / "identities") if contender == _TLS else None
        return aggregate.exchange(
            folder, run_settings.TCP, self.elements, self.times, self.warm_up, 2, 2, identities=identities
        )[1]


@dataclass(frozen=True)
class ConnectBenchmark:
    """One client that connects to an orchestrator, and leaves, a number of times."""

    name: str
    times: int
    unit: str = "ms"
    more_is_better: bool = False
    contenders: Sequence[str] = (_TLS, _PLAIN)
    pairs: Sequence[Pair] = (Pair(_TLS, _PLAIN),)
    tolerance: float = 1e-9

    @property
    def measures(self) -> str:
        """What is timed, in one sentence."""
        return (
            "A new connection to the orchestrator, one request and its reply: with the handshake of TLS and the "
            "certificates of both sides (ECDSA P-256), which the worker reads from files each time, and without."
        )

    def run(self, contender: str, folder: Path) -> Sample:
        """The mean of all connections."""
        identities = _identities(folder / "identities") if contender == _TLS else None
        (folder / "run" / "logs").mkdir(parents=True)
        environment = {} if identities is None else {IDENTITY: str(identities / ORCHESTRATOR)}
        orchestrator = start_orchestrator(folder / "run", "bench", RunOptions(seed=0), environment=environment)
        try:
            ready = orchestrator.wait_ready(port_file(folder / "run", ORCHESTRATOR), processes.PATIENCE_SECONDS)
            address = Addresses(**ready).listen
            identity = None if identities is None else identities / "worker"
            started = time.perf_counter()
            for _ in range(self.times):
                _native.OrchestratorClient(address, identity=identity).leave("measured")
            seconds = time.perf_counter() - started
        finally:
            orchestrator.stop()
        return Sample(1e3 * seconds / self.times, self.times, 0.0)


def benchmarks(quick: bool) -> list[Benchmark]:
    """Gradients of 100 MB and 10 MB, and connections."""
    if quick:
        return [BulkBenchmark("1 MB", 250_000, 4, 2), ConnectBenchmark("connect", 3)]
    return [
        BulkBenchmark("100 MB", 25_000_000, 18, 6),
        BulkBenchmark("10 MB", 2_500_000, 70, 30),
        ConnectBenchmark("connect", 200),
    ]
