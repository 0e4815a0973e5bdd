"""A run on which a test can inflict anything: its services are killed, stopped, given faults and started again, one by one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.audit import audit_ledger
from pangea.children import Child
from pangea.ledger import Entry, Reader
from pangea.services import FREE_PORTS, ORCHESTRATOR, Addresses, RunOptions, data_service_name, port_file, start_data_service, start_orchestrator
from tests.harness.service_logs import assert_no_errors
from tests.harness.cluster import Cluster
from tools.processes.waiting import eventually

SCRIPT = Path(__file__).with_name("faulty_training.py")
READY_SECONDS = 60.0
OPTIONS = RunOptions(epochs=2, batch_size=256, shards=8, seed=5)


@dataclass
class Services:
    """Where the services of a run are, as `Cluster` wants to know it."""

    run_dir: Path
    orchestrator: str = ""
    status: str = ""
    data: str = ""


class Stage(Cluster):
    """One run. Services keep their addresses over a restart, as behind a supervisor."""

    def __init__(self, folder: Path, options: RunOptions, replicas: int) -> None:
        gates, run_dir = folder / "gates", folder / "run"
        gates.mkdir(parents=True)
        (run_dir / "logs").mkdir(parents=True)
        super().__init__(Services(run_dir), gates)
        self.options = options
        self.orchestrator: Child | None = None
        self.replicas: list[Child] = []
        self._addresses: dict[str, Addresses] = {}
        for number in range(1, replicas + 1):
            self.replicas.append(self.start_replica(number))
        self.services.data = ",".join(self._addresses[data_service_name(number)].listen for number in range(1, replicas + 1))

    def start_replica(self, number: int) -> Child:
        """Starts the data service with this number, from 1, and waits until it is ready."""
        name = data_service_name(number)
        child = start_data_service(self.run_dir, name, "digits", self._addresses.get(name, FREE_PORTS))
        self._note(name, child)
        return child

    def start_orchestrator(self, crash_at: str = "") -> Child:
        """Starts it, also again, and waits until it is ready; with `crash_at`, POINT:N, it kills itself there."""
        self.orchestrator = self.launch_orchestrator(crash_at)
        found = self._note(ORCHESTRATOR, self.orchestrator)
        self.services.orchestrator, self.services.status = found.listen, found.http
        return self.orchestrator

    def launch_orchestrator(self, crash_at: str = "") -> Child:
        """Starts it and does not wait: it may refuse to serve."""
        addresses = self._addresses.get(ORCHESTRATOR, FREE_PORTS)
        environment = {"PANGEA_CRASH_AT": crash_at} if crash_at else {}
        return start_orchestrator(self.run_dir, self.run_dir.name, self.options, addresses, environment)

    def _note(self, name: str, child: Child) -> Addresses:
        found = child.wait_ready(port_file(self.run_dir, name), READY_SECONDS)
        self._addresses[name] = Addresses(found["listen"], found["http"])
        return self._addresses[name]

    def start_worker(self, name: str, gate_step: int = -1, script: Path = SCRIPT, **environment: str) -> Child:
        """Starts a worker of tests/harness/faulty_training.py."""
        return super().start_worker(name, gate_step, script, **environment)

    def hang_next_donor(self) -> None:
        """Has the next worker of tests/harness/faulty_training.py that is asked for its state hang, until `free`."""
        (self._gates / "hang").touch()

    def wait_hanging(self, name: str) -> None:
        """Until this one does."""
        eventually((self._gates / f"{name}.hanging").exists, f"{name} is asked for its state")

    def free(self, name: str) -> None:
        """Lets it go on."""
        (self._gates / f"{name}.freed").touch()

    def wait_step(self, step: int) -> None:
        """Until so many steps are committed."""
        eventually(lambda: self.status()["committed"] >= step, f"step {step} is committed")

    def records(self, kind: type[Any]) -> list[Any]:
        """The ledger's records of one kind."""
        return [entry.record for entry in self.entries() if isinstance(entry.record, kind)]

    def entries(self) -> list[Entry]:
        """The ledger, checked."""
        with (self.run_dir / "ledger.jsonl").open("rb") as stream:
            return list(Reader(stream))

    def audit(self) -> None:
        """The ledger has to prove its promises, and to show that what went wrong was put right."""
        with (self.run_dir / "ledger.jsonl").open("rb") as stream:
            report = audit_ledger(stream)
        assert report.holds, report.findings
        assert report.audit.incidents.unresolved == 0, report.audit.incidents.kinds

    def orchestrator_log(self) -> str:
        """Everything that orchestrators of this run have said."""
        return (self.run_dir / "logs" / f"{ORCHESTRATOR}.log").read_text()

    def finish(self, *names: str) -> None:
        """Waits until these workers have ended with the run."""
        for name in names:
            self.wait_exit(name)
        state = json.loads((self.run_dir / "run.json").read_text())["state"]
        assert state == "finished", state

    def close(self) -> None:
        """Kills everything that is still there."""
        for child in [*self.workers.values(), *self.replicas, *([self.orchestrator] if self.orchestrator else [])]:
            kill(child)


def kill(child: Child) -> None:
    """As kill -9; also one that is stopped."""
    child.process.kill()
    child.process.wait()


def death(child: Child) -> int:
    """Waits until a process has ended; gives its exit code, -N after signal N."""
    eventually(lambda: child.exit_code() is not None, f"{child.name} ends")
    code = child.exit_code()
    assert code is not None
    return code


def pause(child: Child) -> None:
    """As SIGSTOP: nothing of the process runs, its connections stay open."""
    child.process.send_signal(signal.SIGSTOP)


def go_on(child: Child) -> None:
    """Ends a pause."""
    child.process.send_signal(signal.SIGCONT)


@contextmanager
def stage(folder: Path, *, replicas: int = 1, crash_at: str = "", options: RunOptions = OPTIONS, errors: Sequence[str] = ()) -> Iterator[Stage]:
    """Starts the services; at the end kills everything that is still there. Errors in the services' logs have to hold one of the texts in `errors`."""
    run = Stage(folder, options, replicas)
    try:
        run.start_orchestrator(crash_at)
        yield run
    finally:
        run.close()
    assert_no_errors(run.run_dir, errors)


def undisturbed(folder: Path, options: RunOptions = OPTIONS) -> Stage:
    """A run by one worker that nothing happens to, to its end."""
    with stage(folder, options=options) as run:
        run.start_worker("alone")
        run.finish("alone")
    return run
