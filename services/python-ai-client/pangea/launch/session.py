"""A run on this machine: its services and workers are started, kept alive, and stopped in order."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea.arithmetic import UnavailableLevel, pin, require
from pangea.datasets import DEFAULT
from pangea.launch.environment import worker_environment
from pangea.launch.gpus import NoGpus, of_machine, visible
from pangea.launch.settings import Settings, brings_dataset
from pangea.places import caller_folder, python_command, python_environment
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, data_service_name, port_file, read_record, wanted_file
from pangea.services.announced import announced
from pangea.services.child import Child, ChildFailed
from pangea.services.restarts import ExitStatus, RestartPolicy
from pangea.services.supervised import add_data_service, add_orchestrator
from pangea.services.supervisor import Process, Supervisor
from pangea.torch_version import require_torch

# When it stops, the orchestrator waits 6 s for a last checkpoint and 3 s for its connections.
_ORCHESTRATOR_STOP_SECONDS = 20.0


def check_machine(settings: Settings) -> None:
    """Checks that this machine can train a run with these settings, as a worker would, in a traceback of its script.

    Raises:
        MissingTorch: torch is not installed in this environment.
        ChildFailed: this machine does not support the run's arithmetic, or has too few GPUs.
    """
    require_torch()
    try:
        require(settings.arithmetic)
        visible(settings.gpus_per_worker, settings.workers - 1, of_machine())
    except (UnavailableLevel, NoGpus) as error:
        raise ChildFailed(str(error)) from error


class Session:
    """One run on this machine.

    Call `poll` several times a second from the thread that called `start`, and always call `stop` at the end.
    """

    def __init__(
        self, settings: Settings, run_dir: Path, run_id: str, policy: RestartPolicy, on_event: Callable[[str], None]
    ) -> None:
        """Args:
        settings: of the run.
        run_dir: the run directory, which exists; a run in it is resumed.
        run_id: the run's name.
        policy: how processes are restarted.
        on_event: called with a message when a process fails or is restarted.
        """
        self.settings, self.run_dir, self.run_id = settings, run_dir, run_id
        self.metrics = JsonLinesFile(run_dir / "metrics.jsonl")
        self.supervisor = Supervisor(policy, on_event)
        self.data_services: list[Process] = []
        self.workers: list[Process] = []
        self.orchestrator: Process | None = None

    def start(self) -> None:
        """Starts all processes, and waits until the services are ready.

        Workers load torch meanwhile, which takes longer than most datasets: see `pangea.services.announced`.

        Raises:
            ChildFailed: a process failed (the message includes the end of its log), or this machine does not support
                the run's arithmetic.
        """
        self._check_machine()
        # Those of an earlier start would be mistaken for this one's.
        for name in (ORCHESTRATOR, *self._data_names):
            port_file(self.run_dir, name).unlink(missing_ok=True)
            wanted_file(self.run_dir, name).unlink(missing_ok=True)
        if not self._waits_for_wish:
            self.data_services += [self._start_data_service(name) for name in self._data_names]
        for _ in range(self.settings.workers):
            self.add_worker()
        for service in self.data_services:
            service.wait_ready()
        # Only now, since it opens the run, which there should not be if the dataset cannot be read.
        self.orchestrator = self._start_orchestrator()
        self.orchestrator.wait_ready()

    def _check_machine(self) -> None:
        check_machine(self.settings)

    @property
    def _data_names(self) -> list[str]:
        return [data_service_name(number) for number in range(1, self.settings.data_replicas + 1)]

    @property
    def _waits_for_wish(self) -> bool:
        """Whether the data service is started only when a worker asks for it.

        A script that seems to have a dataset of its own needs none; but what else its text means, only running it says.
        """
        return self.settings.dataset == DEFAULT and brings_dataset(self.settings.script)

    def _start_wanted(self) -> None:
        """Starts the data services that workers have asked for."""
        for name in self._data_names[len(self.data_services) :]:
            if not wanted_file(self.run_dir, name).exists():
                return
            self.data_services.append(self._start_data_service(name))
            self.data_services[-1].wait_ready()

    def _start_data_service(self, name: str) -> Process:
        return add_data_service(self.supervisor, self.run_dir, name, self.settings.dataset)

    def _start_orchestrator(self) -> Process:
        return add_orchestrator(self.supervisor, self.run_dir, self.run_id, self.settings.run_options)

    def add_worker(self) -> Process:
        """Starts one more worker. Its name has the next number, which is never reused."""
        name = f"worker-{len(self.workers) + 1}"
        process = self.supervisor.add(name, lambda: self._worker(name))
        self.workers.append(process)
        return process

    def _worker(self, name: str) -> Child:
        data = [announced(name) for name in self._data_names]
        own = worker_environment(self.settings, self.run_dir, name, announced(ORCHESTRATOR), data)
        gpus = visible(self.settings.gpus_per_worker, int(name.rpartition("-")[2]) - 1, of_machine())
        environment = {**pin(python_environment(), self.settings.arithmetic), **own, **gpus}
        command = [*python_command(self.settings.script), *self.settings.arguments]
        # A path that the script opens is relative to the user's working directory.
        return Child(name, command, self.run_dir / "logs" / f"{name}.log", environment, folder=caller_folder())

    def poll(self) -> list[dict[str, Any]]:
        """Restarts processes that were killed, and returns the lines that are new in metrics.jsonl since the last call.

        Raises:
            ChildFailed: a service has failed, all workers have, or a process is in a crash loop.
        """
        lines = self.metrics.read_new()
        self._start_wanted()
        self.supervisor.poll(len(self.metrics.lines))
        for service in self.data_services:
            # A data service exits only if somebody else stopped it, and the run still needs it.
            if service.status is ExitStatus.EXITED:
                service.restart_at, service.status = 0.0, ExitStatus.KILLED
        if self.workers and all(worker.status is ExitStatus.FAILED for worker in self.workers):
            raise self.workers[0].child.failure()
        return lines

    def wait(self, seconds: float) -> None:
        """Waits until a process of the run exits, for at most this time."""
        self.supervisor.wait(seconds)

    @property
    def over(self) -> bool:
        """Whether the run makes no further progress: all workers or the orchestrator have exited."""
        return not any(worker.alive for worker in self.workers) or (
            self.orchestrator is not None and self.orchestrator.status is ExitStatus.EXITED
        )

    @property
    def left_early(self) -> list[str]:
        """The names of the workers, if all have exited without an error while the orchestrator still runs."""
        exited = all(worker.child.exit_code() == 0 and not worker.alive for worker in self.workers)
        return (
            [worker.name for worker in self.workers]
            if exited and self.orchestrator is not None and self.orchestrator.alive
            else []
        )

    @property
    def failed_workers(self) -> list[str]:
        """The names of the workers that failed."""
        return [worker.name for worker in self.workers if worker.status is ExitStatus.FAILED]

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was restarted, without those that never were."""
        return {process.name: process.restarts for process in self.supervisor.processes if process.restarts}

    def record(self) -> dict[str, Any]:
        """The content of run.json; empty while it does not exist."""
        return read_record(self.run_dir)

    def checkpoint(self) -> bool:
        """Requests a checkpoint from the orchestrator; returns whether that is possible."""
        if self.orchestrator is not None:
            self.orchestrator.child.signal(signal.SIGUSR1)
        return True

    def stop(self) -> None:
        """Stops the orchestrator first, as its last checkpoint needs a worker; then workers and data services."""
        # A worker that is paused (SIGSTOP) could neither send a snapshot nor leave the run.
        for worker in self.workers:
            worker.child.signal(signal.SIGCONT)
        if self.orchestrator is not None:
            self.supervisor.stop([self.orchestrator], _ORCHESTRATOR_STOP_SECONDS)
        self.supervisor.stop(self.workers)
        # The remaining ones, including services that never became ready.
        self.supervisor.stop(self.supervisor.processes)
        self.metrics.read_new()
