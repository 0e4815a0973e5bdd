"""A run on loopback ports whose processes a test starts, and inflicts anything on, one by one."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pangea.places import python_environment
from pangea.rundir.layout import FREE_PORTS, ORCHESTRATOR, Addresses, data_service_name, port_file
from pangea.services.child import Child
from pangea.services.options import RunOptions
from pangea.services.programs import IDENTITY, start_data_service, start_orchestrator
from tests.harness.gates import Gates
from tests.harness.pages import http_get
from tests.harness.processes import kill, wait_exit
from tests.harness.run_files import RunFiles
from tests.harness.service_logs import assert_no_errors
from tests.harness.warm import WarmPython
from tools.processes.waiting import PATIENCE_SECONDS, eventually

SCRIPT = Path(__file__).with_name("training.py")
# 1,438 training samples in batches of 256 are 6 steps an epoch.
OPTIONS = RunOptions(epochs=2, batch_size=256, shards=8, seed=5)
STEPS = 12
_WARM = WarmPython()


class Cluster(RunFiles):
    """One run. Services keep their addresses over a restart, as behind a supervisor.

    Attributes:
        orchestrator: its newest process.
        replicas: the newest process of each replica of the data service.
        workers: the newest worker of each name.
    """

    orchestrator: Child

    def __init__(self, folder: Path, options: RunOptions, warm: bool, identities: Path | None) -> None:
        super().__init__(folder / "run")
        self._warm, self._identities = warm, identities
        (self.run_dir / "logs").mkdir(parents=True)
        self.gates = Gates(folder / "gates")
        self.options = options
        self.replicas: list[Child] = []
        self.workers: dict[str, Child] = {}
        self._started: list[Child] = []
        self._addresses: dict[str, Addresses] = {}

    def addresses(self, service: str) -> Addresses:
        """Where a service listens that was ready once."""
        return self._addresses[service]

    @property
    def orchestrator_address(self) -> str:
        """Where workers reach the orchestrator: its socket, or host:port. With identities the latter, over TLS."""
        addresses = self._addresses[ORCHESTRATOR]
        return addresses.for_workers if self._identities is None else addresses.listen

    @property
    def data_addresses(self) -> str:
        """Where workers reach the replicas of the data service: the first through its socket, the others over TCP."""
        found = [self._addresses[data_service_name(number)] for number in range(1, len(self.replicas) + 1)]
        if self._identities is not None:
            return ",".join(address.listen for address in found)
        return ",".join([address.listen if number else address.for_workers for number, address in enumerate(found)])

    def identity(self, name: str) -> dict[str, str]:
        """The variable that names the identity of a process, where it has one."""
        return {} if self._identities is None else {IDENTITY: str(self._identities / name)}

    @property
    def status_address(self) -> str:
        """Where the orchestrator serves /status, host:port."""
        return self._addresses[ORCHESTRATOR].http

    def start_replica(self, number: int) -> Child:
        """Starts the data service with this number, from 1, and waits until it is ready."""
        name = data_service_name(number)
        addresses = self._addresses.get(name, FREE_PORTS)
        child = self._keep(start_data_service(self.run_dir, name, "digits", addresses, self.identity(name)))
        self._wait_ready(name, child)
        return child

    def start_orchestrator(self, crash_at: str = "") -> Child:
        """Starts or restarts the orchestrator and waits until it is ready; it kills itself at `crash_at`, POINT:N."""
        self.orchestrator = self.launch_orchestrator(crash_at)
        # Waiting workers may drive a restarted one to `crash_at` before this process sees that it was ready.
        if not crash_at or ORCHESTRATOR not in self._addresses:
            self._wait_ready(ORCHESTRATOR, self.orchestrator)
        return self.orchestrator

    def launch_orchestrator(self, crash_at: str = "") -> Child:
        """Starts the orchestrator without waiting: it may refuse to serve."""
        addresses = self._addresses.get(ORCHESTRATOR, FREE_PORTS)
        environment = self.identity(ORCHESTRATOR) | ({"PANGEA_CRASH_AT": crash_at} if crash_at else {})
        return self._keep(start_orchestrator(self.run_dir, self.run_dir.name, self.options, addresses, environment))

    def _wait_ready(self, name: str, child: Child) -> None:
        found = child.wait_ready(port_file(self.run_dir, name), PATIENCE_SECONDS)
        self._addresses[name] = Addresses(**found)

    def _keep(self, child: Child) -> Child:
        self._started.append(child)
        return child

    def worker_environment(self, name: str) -> dict[str, str]:
        """What tells a worker of this name its place in the run."""
        return {
            "PANGEA_ORCHESTRATOR": self.orchestrator_address,
            "PANGEA_DATA": self.data_addresses,
            "PANGEA_RUN_DIR": str(self.run_dir),
            "PANGEA_WORKER_NAME": name,
            "PANGEA_SEED": str(self.options.seed),
            **self.identity(name),
        }

    def start_worker(self, name: str, gate_step: int = -1, script: Path = SCRIPT, **environment: str) -> Child:
        """Starts a worker; with `gate_step` it stops at that step until `open_gate`."""
        return self.start_python(
            name, [str(script)], {**self.worker_environment(name), **self.gates.environment(gate_step), **environment}
        )

    def start_python(self, name: str, words: Sequence[str], environment: dict[str, str]) -> Child:
        """Starts `python WORDS` as the worker of this name; `environment` is added to the test's own."""
        log, complete = self.run_dir / "logs" / f"{name}.log", {**python_environment(), **environment}
        child = (
            _WARM.start(name, words, log, complete)
            if self._warm
            else Child(name, [sys.executable, *words], log, complete)
        )
        self.workers[name] = self._keep(child)
        return child

    def wait_gate(self, name: str) -> None:
        """Waits until the worker stands at its gate."""

        def reached() -> bool:
            if self.workers[name].exit_code() is not None:
                raise self.workers[name].failure()
            return self.gates.is_reached(name)

        eventually(reached, f"{name} reaches its gate")

    def open_gate(self, *names: str) -> None:
        """Lets these workers continue."""
        for name in names:
            self.gates.open(name)

    def wait_hanging(self, name: str) -> None:
        """Waits until the worker was asked for its state and hangs, after `gates.hang_next_donor`."""
        eventually(lambda: self.gates.is_hanging(name), f"{name} is asked for its state")

    def status(self) -> dict[str, Any]:
        """The orchestrator's /status."""
        code, body = http_get(self.status_address, "/status")
        assert code == 200, body
        return dict(json.loads(body))

    def wait_workers(self, count: int) -> None:
        """Waits until the run has this number of workers."""

        def joined() -> bool:
            for worker in self.workers.values():
                if worker.exit_code() not in (None, 0):
                    raise worker.failure()
            return len(self.status()["workers"]) == count

        eventually(joined, f"the run has {count} workers")

    def wait_step(self, step: int) -> None:
        """Waits until this number of steps is committed."""
        eventually(lambda: self.status()["committed"] >= step, f"step {step} is committed")

    def wait_exit(self, name: str, code: int = 0) -> None:
        """Waits until the worker has ended, and asserts its exit code."""
        child = self.workers[name]
        ended = wait_exit(child)
        assert ended == code, f"{name} ended with {ended}:\n{child.log_tail(30)}"

    def finish(self, *names: str) -> None:
        """Waits until these workers have ended with the run."""
        for name in names:
            self.wait_exit(name)
        state = self.read("run.json")["state"]
        assert state == "finished", state

    def close(self) -> None:
        """Kills everything that still runs."""
        for child in self._started:
            kill(child)


@contextmanager
def cluster(
    folder: Path,
    *,
    replicas: int = 1,
    crash_at: str = "",
    errors: Sequence[str] = (),
    warm: bool = True,
    identities: Path | None = None,
    **options: Any,
) -> Iterator[Cluster]:
    """Starts the services; at the end kills everything that still runs.

    Args:
        folder: of the run and its gates.
        replicas: of the data service; 0 for scripts with a dataset of their own.
        crash_at: where the orchestrator kills itself, POINT:N.
        errors: each error in the services' logs has to contain one of these texts.
        warm: workers are forks, as tests/harness/warm.py says, and no new interpreters.
        identities: the folder with an identity directory for each process, by name; workers then use TCP, over TLS.
        options: where the run differs from `OPTIONS`.
    """
    run = Cluster(folder, dataclasses.replace(OPTIONS, **options), warm, identities)
    try:
        for number in range(1, replicas + 1):
            run.replicas.append(run.start_replica(number))
        run.start_orchestrator(crash_at)
        yield run
    finally:
        run.close()
    assert_no_errors(run.run_dir, errors)


def undisturbed(folder: Path, workers: int = 1, **options: Any) -> Cluster:
    """A complete run to which nothing happens; all of its workers take part from its first step on."""
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    with cluster(folder, **options) as run:
        for name in names:
            run.start_worker(name, gate_step=0)
        run.wait_workers(workers)
        run.open_gate(*names)
        run.finish(*names)
    return run
