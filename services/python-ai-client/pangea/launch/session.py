"""A run on this machine: its services and workers, kept alive, and stopped in order."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea.arithmetic import UnavailableLevel, pin, require
from pangea.launch.environment import worker_environment
from pangea.launch.settings import Settings
from pangea.places import caller_folder, python_command, python_environment
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, data_service_name
from pangea.services.child import Child, ChildFailed
from pangea.services.programs import start_data_service, start_orchestrator
from pangea.services.restarts import ExitStatus, RestartPolicy
from pangea.services.supervised import add_service
from pangea.services.supervisor import Process, Supervisor

# The orchestrator gives a last checkpoint 6 s, and its connections 3 s more.
_ORCHESTRATOR_STOP_SECONDS = 20.0


class Session:
    """One run. Call `look` several times a second from the thread that called `start`; always call `stop` in the end."""

    def __init__(self, settings: Settings, run_dir: Path, run_id: str, policy: RestartPolicy, on_event: Callable[[str], None]) -> None:
        """Args:
        settings: of the run.
        run_dir: its directory, made; a run that is in it goes on.
        run_id: its name.
        policy: of restarts.
        on_event: called with a sentence when a process ends or starts again.
        """
        self.settings, self.run_dir, self.run_id = settings, run_dir, run_id
        self.metrics = JsonLinesFile(run_dir / "metrics.jsonl")
        self.supervisor = Supervisor(policy, on_event)
        self.data_services: list[Process] = []
        self.workers: list[Process] = []
        self.orchestrator: Process | None = None

    def start(self) -> None:
        """Starts the services, waits until they are ready, and starts the workers.

        Raises:
            ChildFailed: with the end of the log of the one that failed, or because this machine does not have the run's arithmetic.
        """
        self._check_machine()
        for number in range(1, self.settings.data_replicas + 1):
            self.data_services.append(self._start_data_service(data_service_name(number)))
        self.orchestrator = self._start_orchestrator()
        for _ in range(self.settings.workers):
            self.add_worker()

    def _check_machine(self) -> None:
        try:
            require(self.settings.arithmetic)
        except UnavailableLevel as error:
            raise ChildFailed(str(error)) from error

    def _start_data_service(self, name: str) -> Process:
        return add_service(self.supervisor, self.run_dir, name, lambda addresses: start_data_service(self.run_dir, name, self.settings.dataset, addresses))

    def _start_orchestrator(self) -> Process:
        options = self.settings.run_options
        return add_service(self.supervisor, self.run_dir, ORCHESTRATOR, lambda addresses: start_orchestrator(self.run_dir, self.run_id, options, addresses))

    def add_worker(self) -> Process:
        """Starts one more worker. Names are counted and never used for another one."""
        name = f"worker-{len(self.workers) + 1}"
        process = self.supervisor.add(name, lambda: self._worker(name))
        self.workers.append(process)
        return process

    def _worker(self, name: str) -> Child:
        assert self.orchestrator is not None and self.orchestrator.addresses is not None
        data = [service.addresses.listen for service in self.data_services if service.addresses is not None]
        own = worker_environment(self.settings, self.run_dir, name, self.orchestrator.addresses.listen, data)
        environment = {**pin(python_environment(), self.settings.arithmetic), **own}
        command = [*python_command(self.settings.script), *self.settings.arguments]
        # A path that the script opens is meant from where the user called.
        return Child(name, command, self.run_dir / "logs" / f"{name}.log", environment, folder=caller_folder())

    def poll(self) -> list[dict[str, Any]]:
        """Starts again what was killed; gives the lines that metrics.jsonl has got since the last call.

        Raises:
            ChildFailed: a service has failed, all workers have, or one is in a crash loop.
        """
        lines = self.metrics.read_new()
        self.supervisor.poll(len(self.metrics.lines))
        for service in self.data_services:
            if service.status is ExitStatus.EXITED:  # somebody else asked it to; the run needs it
                service.restart_at, service.status = 0.0, ExitStatus.KILLED
        if self.workers and all(worker.status is ExitStatus.FAILED for worker in self.workers):
            raise self.workers[0].child.failure()
        return lines

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more: all workers have ended, or somebody asked the orchestrator to stop."""
        return not any(worker.alive for worker in self.workers) or (self.orchestrator is not None and self.orchestrator.status is ExitStatus.EXITED)

    @property
    def left(self) -> list[str]:
        """Names of the workers, if all have ended without an error and the orchestrator still waits for some."""
        ended = all(worker.child.exit_code() == 0 and not worker.alive for worker in self.workers)
        return [worker.name for worker in self.workers] if ended and self.orchestrator is not None and self.orchestrator.alive else []

    @property
    def failed_workers(self) -> list[str]:
        """Names of the workers that ended with an error."""
        return [worker.name for worker in self.workers if worker.status is ExitStatus.FAILED]

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again, of those that were."""
        return {process.name: process.restarts for process in self.supervisor.processes if process.restarts}

    def record(self) -> dict[str, Any]:
        """run.json, read; empty before it is there."""
        file = self.run_dir / "run.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def checkpoint(self) -> bool:
        """Asks the orchestrator for a checkpoint now; false if it cannot be asked."""
        if self.orchestrator is not None:
            self.orchestrator.child.signal(signal.SIGUSR1)
        return True

    def stop(self) -> None:
        """Stops all: the orchestrator first, since its last checkpoint needs a worker; then the workers, then the data."""
        # A worker that stands still could give no checkpoint, and take no leave.
        for worker in self.workers:
            worker.child.signal(signal.SIGCONT)
        if self.orchestrator is not None:
            self.supervisor.stop([self.orchestrator], _ORCHESTRATOR_STOP_SECONDS)
        self.supervisor.stop(self.workers)
        # All that are left, also services that never got ready.
        self.supervisor.stop(self.supervisor.processes)
        self.metrics.read_new()
