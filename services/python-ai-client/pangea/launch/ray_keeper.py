"""What a Ray actor of a run does: it keeps one process alive on the node that Ray has put it on.

Ray calls `Keeper.run` again, on another node, when the actor or its node is lost; what the process needs to know then is in the run's directory.
"""

from __future__ import annotations

import importlib
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pangea.arithmetic import pin
from pangea.launch import resume
from pangea.launch.job import Job
from pangea.places import python_command, python_environment
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, Addresses, port_file
from pangea.services.child import Child, wait_for
from pangea.services.programs import start_data_service, start_orchestrator
from pangea.services.restarts import ExitStatus, RestartBackoff, RestartPolicy, exit_status
from pangea.services.supervisor import address_in_use

_TICK_SECONDS = 0.1
# The orchestrator gives a last checkpoint 6 s, and its connections 3 s more.
_STOP_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
# Longest that a worker waits for services that are not placed yet.
_SERVICES_SECONDS = 600.0


@dataclass(frozen=True)
class Ended:
    """How a process ended for good; `message` is for people."""

    status: ExitStatus
    message: str


def stop_file(run_dir: Path, name: str) -> Path:
    """When this is there, the process with that name is asked to end."""
    return run_dir / "logs" / f"{name}.stop"


def events_file(run_dir: Path) -> Path:
    """Where keepers write, one JSON object a line, what has happened to their processes."""
    return run_dir / "logs" / "events.jsonl"


def _answers(address: str) -> bool:
    """Whether somebody takes connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


class Keeper:
    """One process of a run; an actor."""

    def __init__(self, job: Job, name: str) -> None:
        """Args:
        job: of the run; its directory is on storage that all nodes see.
        name: of the process.
        """
        self._job, self._name = job, name
        self._host: str = importlib.import_module("ray.util").get_node_ip_address()
        self._metrics = JsonLinesFile(job.run_dir / "metrics.jsonl")

    def run(self) -> Ended:
        """Starts the process, and again whenever it is killed or the services have moved, until it has ended for good."""
        backoff = RestartBackoff(RestartPolicy())
        if self._log.exists():
            self._tell("is started again after its actor or its node was lost")
        while True:
            services = self._services() if self._is_worker else []
            if services is None:
                return self._without_services()
            child = self._start(services)
            code = self._wait(child, services)
            if code is None:
                self._tell("is started again, since a service has moved")
                continue
            what = exit_status(code, is_service=not self._is_worker)
            if self._stopping or what is ExitStatus.FAILED or (what is ExitStatus.EXITED and (self._is_worker or self._name == ORCHESTRATOR)):
                return Ended(ExitStatus.EXITED if self._stopping else what, str(child.failure()))
            self._metrics.read_new()
            delay = backoff.after_death(time.monotonic(), len(self._metrics.lines))
            if delay is None:
                return Ended(ExitStatus.FAILED, f"{self._name} was killed; crash loop: {backoff.deaths - 1} restarts without progress. {child.failure()}")
            self._tell(f"{f'was killed (signal {-code})' if code < 0 else 'has left'}; started again")
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

    def _tell(self, what: str) -> None:
        with events_file(self._job.run_dir).open("a") as stream:
            stream.write(json.dumps({"name": self._name, "event": what}) + "\n")

    def _services(self) -> list[str] | None:
        """Where orchestrator and data services are, once all of them are there; None if the run is stopped before, or that takes too long."""

        def there() -> list[str] | None:
            if self._stopping:
                return []
            placed = self._placed()
            # What a service on a lost node has written tells where it was, until it is placed anew; a worker itself would give up after 30 s.
            return placed if placed is not None and all(_answers(address) for address in placed) else None

        return wait_for(there, _SERVICES_SECONDS) or None

    def _without_services(self) -> Ended:
        """The end of a worker that was never started: on its own it would train a run of its own."""
        if self._stopping:
            return Ended(ExitStatus.EXITED, f"{self._name} was not started: the run was stopped before its services were there")
        return Ended(
            ExitStatus.FAILED,
            f"{self._name} was not started: after {_SERVICES_SECONDS:.0f} s not all services of the run answer; is there room for them in the cluster (ray status), or are --cpus too many?",
        )

    def _placed(self) -> list[str] | None:
        """Addresses of all services, the orchestrator's first; None while one has not written its own."""
        try:
            return [json.loads(port_file(self._job.run_dir, name).read_text())["listen"] for name in (ORCHESTRATOR, *self._job.data_services)]
        except FileNotFoundError:
            return None

    def _start(self, services: list[str]) -> Child:
        settings, run_dir = self._job.settings, self._job.run_dir
        if self._is_worker:
            environment = {**pin(python_environment(), settings.arithmetic), **self._job.environment(self._name, services[0], services[1:])}
            return Child(self._name, [*python_command(settings.script), *settings.arguments], self._log, environment)
        if self._name == ORCHESTRATOR:
            # The one of a lost actor may still write its last checkpoint.
            resume.await_predecessor(run_dir, lambda _event: None)
            return start_orchestrator(run_dir, self._job.run_id, settings.run_options, self._addresses())
        return start_data_service(run_dir, self._name, settings.dataset, self._addresses())

    def _addresses(self) -> Addresses:
        """Those of the service's earlier life, if they are free and on this node: then workers need only connect again."""
        free = Addresses(f"{self._host}:0", f"{self._host}:0")
        try:
            earlier = Addresses(**json.loads(port_file(self._job.run_dir, self._name).read_text()))
        except FileNotFoundError:
            return free
        here = all(address.rpartition(":")[0] == self._host for address in (earlier.listen, earlier.http))
        return earlier if here and address_in_use(earlier) is None else free

    def _wait(self, child: Child, services: list[str]) -> int | None:
        """Until the process has ended; gives its exit code, or None if it was ended for services that are somewhere else now."""
        while (code := child.exit_code()) is None:
            if self._stopping:
                return child.stop(_STOP_SECONDS)
            if self._is_worker and (self._placed() or services) != services:
                child.stop()
                return None
            time.sleep(_TICK_SECONDS)
        return code
