"""The Ray actor of a run: it keeps one process alive on the node where Ray has placed it.

When the actor or its node is lost, Ray calls `Keeper.run` again on another node; all state that the process needs then
is in the run directory.
"""

from __future__ import annotations

import importlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pangea.arithmetic import pin
from pangea.identity.directory import Identity
from pangea.launch import resume
from pangea.launch.job import Job
from pangea.places import python_command, python_environment
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, Addresses, port_file
from pangea.services.child import Child, wait_for
from pangea.services.programs import IDENTITY, start_data_service, start_orchestrator
from pangea.services.restarts import ExitStatus, RestartBackoff, RestartPolicy, exit_status
from pangea.services.supervisor import address_in_use

_POLL_SECONDS = 0.1
# When it stops, the orchestrator waits 6 s for a last checkpoint and 3 s for its connections.
_STOP_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
# How long a worker waits for services that Ray has not placed yet.
_SERVICES_SECONDS = 600.0


@dataclass(frozen=True)
class Exit:
    """The final exit of a process, with a message for the user."""

    status: ExitStatus
    message: str


@dataclass(frozen=True)
class Credentials:
    """By what a process is known to the others.

    Attributes:
        identity: its certificate and key; None if the run stays on the loopback.
        environment: further variables.
    """

    identity: Identity | None = None
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def unpacked(credentials: Credentials) -> Iterator[dict[str, str]]:
    """The variables of a process with these credentials, whose files exist in memory until the end of the context."""
    if credentials.identity is None:
        yield credentials.environment
        return
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pangea.", dir=memory if memory.is_dir() else None) as folder:
        credentials.identity.write(Path(folder))
        yield {**credentials.environment, IDENTITY: folder}


def stop_file(run_dir: Path, name: str) -> Path:
    """The file whose existence asks the process with this name to stop."""
    return run_dir / "logs" / f"{name}.stop"


def events_file(run_dir: Path) -> Path:
    """The file to which keepers append what has happened to their processes, one JSON object per line."""
    return run_dir / "logs" / "events.jsonl"


def _is_reachable(address: str) -> bool:
    """Whether host:port accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


class Keeper:
    """The actor of one process of a run."""

    def __init__(self, job: Job, name: str, credentials: Credentials | None = None) -> None:
        """Args:
        job: the run's; its directory is on storage that all nodes share.
        name: of the process.
        credentials: of the process.
        """
        self._job, self._name, self._credentials = job, name, credentials or Credentials()
        self._variables: dict[str, str] = {}
        self._host: str = importlib.import_module("ray.util").get_node_ip_address()
        self._metrics = JsonLinesFile(job.run_dir / "metrics.jsonl")

    def run(self) -> Exit:
        """Starts the process, restarts it when it is killed or the services move, and returns its final exit."""
        with unpacked(self._credentials) as self._variables:
            return self._run()

    def _run(self) -> Exit:
        backoff = RestartBackoff(RestartPolicy())
        if self._log.exists():
            self._record_event("is started again after its actor or its node was lost")
        while True:
            services = self._wait_for_services() if self._is_worker else []
            if services is None:
                return self._exit_without_services()
            child = self._start(services)
            code = self._wait_for_exit(child, services)
            if code is None:
                self._record_event("is started again, since a service has moved")
                continue
            status = exit_status(code, is_service=not self._is_worker)
            if (
                self._stopping
                or status is ExitStatus.FAILED
                or (status is ExitStatus.EXITED and (self._is_worker or self._name == ORCHESTRATOR))
            ):
                return Exit(ExitStatus.EXITED if self._stopping else status, str(child.failure()))
            self._metrics.read_new()
            delay = backoff.after_death(time.monotonic(), len(self._metrics.lines))
            if delay is None:
                return Exit(
                    ExitStatus.FAILED,
                    f"{self._name} was killed; crash loop: {backoff.deaths - 1} restarts without progress."
                    f" {child.failure()}",
                )
            self._record_event(f"{f'was killed (signal {-code})' if code < 0 else 'exited'}; started again")
            time.sleep(delay)

    @property
    def _is_worker(self) -> bool:
        return self._name in self._job.workers

    @property
    def _log(self) -> Path:
        return self._job.run_dir / "logs" / f"{self._name}.log"

    @property
    def _stopping(self) -> bool:
        return stop_file(self._job.run_dir, self._name).exists()

    def _record_event(self, event: str) -> None:
        with events_file(self._job.run_dir).open("a") as stream:
            stream.write(json.dumps({"name": self._name, "event": event}) + "\n")

    def _wait_for_services(self) -> list[str] | None:
        """Returns the addresses of the orchestrator and the data services once all are reachable.

        Returns None on a timeout, or if the run is stopped before.
        """

        def reachable() -> list[str] | None:
            if self._stopping:
                return []
            addresses = self._service_addresses()
            # Until a service of a lost node is placed again, its file has the old address. A worker that tried to
            # connect there would give up after 30 s.
            return addresses if addresses is not None and all(_is_reachable(address) for address in addresses) else None

        return wait_for(reachable, _SERVICES_SECONDS) or None

    def _exit_without_services(self) -> Exit:
        """The exit of a worker that was never started, because without the services it would train a separate run."""
        if self._stopping:
            return Exit(
                ExitStatus.EXITED,
                f"{self._name} was not started: the run was stopped before its services were reachable",
            )
        return Exit(
            ExitStatus.FAILED,
            f"{self._name} was not started: after {_SERVICES_SECONDS:.0f} s not all services of the run are reachable;"
            " check that the cluster has room for them (ray status), or lower --cpus",
        )

    def _service_addresses(self) -> list[str] | None:
        """The addresses of all services, the orchestrator's first; None while one of them is not yet known."""
        try:
            return [
                json.loads(port_file(self._job.run_dir, name).read_text())["listen"]
                for name in (ORCHESTRATOR, *self._job.data_services)
            ]
        except FileNotFoundError:
            return None

    def _start(self, services: list[str]) -> Child:
        settings, run_dir = self._job.settings, self._job.run_dir
        if self._is_worker:
            environment = {
                **pin(python_environment(), settings.arithmetic),
                **self._job.environment(self._name, services[0], services[1:]),
                **self._variables,
            }
            return Child(self._name, [*python_command(settings.script), *settings.arguments], self._log, environment)
        if self._name == ORCHESTRATOR:
            # The orchestrator of a lost actor may still be writing its last checkpoint.
            resume.await_predecessor(run_dir, lambda _event: None)
            return start_orchestrator(
                run_dir, self._job.run_id, settings.run_options, self._addresses(), self._variables
            )
        return start_data_service(run_dir, self._name, settings.dataset, self._addresses(), self._variables)

    def _addresses(self) -> Addresses:
        """The service's previous addresses if they are free and on this node, else free ports.

        At the same addresses, workers need only reconnect.
        """
        free = Addresses(f"{self._host}:0", f"{self._host}:0")
        try:
            earlier = Addresses(**json.loads(port_file(self._job.run_dir, self._name).read_text()))
        except FileNotFoundError:
            return free
        here = all(address.rpartition(":")[0] == self._host for address in (earlier.listen, earlier.http))
        return earlier if here and address_in_use(earlier) is None else free

    def _wait_for_exit(self, child: Child, services: list[str]) -> int | None:
        """Waits for the process and returns its exit code; None if it was stopped here because a service has moved."""
        while (code := child.exit_code()) is None:
            if self._stopping:
                return child.stop(_STOP_SECONDS)
            if self._is_worker and (self._service_addresses() or services) != services:
                child.stop()
                return None
            time.sleep(_POLL_SECONDS)
        return code
