"""Orchestrator and data services as children of this process, on free ports of the loopback."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
from pathlib import Path

from pangea import datasets
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, data_service_name, new_run_dir
from pangea.services.child import Child, ChildFailed
from pangea.services.options import RunOptions
from pangea.services.programs import start_data_service, start_orchestrator
from pangea.services.restarts import RestartPolicy
from pangea.services.supervised import add_service
from pangea.services.supervisor import Process, Supervisor

_TICK_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


class EmbeddedServices:
    """The services of one run, running. Made by `start`.

    Attributes:
        orchestrator: where it listens, host:port.
        data: where the data service listens, host:port; with replicas, all of them with commas between.
        status: the orchestrator's HTTP address, host:port.
        run_dir: of the run.
    """

    def __init__(self, run_dir: Path, options: RunOptions, dataset: str) -> None:
        self.run_dir, self._options, self._dataset = run_dir, options, dataset
        self.orchestrator = self.data = self.status = ""
        self._supervisor = Supervisor(RestartPolicy(), lambda event: _LOG.warning("%s", event))
        self._data_services: list[Process] = []
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._before: signal.Handlers | None = None

    @classmethod
    def start(
        cls, options: RunOptions, *, run_dir: str | os.PathLike[str] | None = None, dataset: str = datasets.DEFAULT, data_replicas: int = 1, keep_alive: bool = False
    ) -> EmbeddedServices:
        """Starts all and waits until they are ready. From the main thread: until `stop`, SIGUSR1 takes a checkpoint, unless the process has a handler of its own.

        Args:
            options: of the run. PANGEA_ALLOW_NONDETERMINISM=1 in the environment makes it less strict, as it does for the worker.
            run_dir: of the run; default `pangea-runs/TIME-SEED`.
            dataset: as `pangea.datasets.parse` reads it.
            data_replicas: how many processes serve the data.
            keep_alive: start again what is killed.
        Raises:
            ChildFailed: with the end of the log of the one that failed.
            FileExistsError: the run directory holds a run.
            DiskError: it cannot be made.
        """
        if os.environ.get("PANGEA_ALLOW_NONDETERMINISM") == "1":
            options = dataclasses.replace(options, strict=False)
        services = cls(new_run_dir(run_dir, options.seed), options, dataset)
        try:
            services._start_all(data_replicas)
        except BaseException:
            services.stop()
            raise
        if keep_alive:
            services._watcher = threading.Thread(target=services._watch, name="pangea-services", daemon=True)
            services._watcher.start()
        services._listen()
        return services

    def _listen(self) -> None:
        """A cluster sends SIGUSR1 to ask for a checkpoint; without a handler the process would end."""
        before = signal.getsignal(signal.SIGUSR1)
        if threading.current_thread() is threading.main_thread() and isinstance(before, signal.Handlers):
            signal.signal(signal.SIGUSR1, lambda _number, _frame: self.checkpoint())
            self._before = before

    def checkpoint(self) -> None:
        """Asks the orchestrator for a checkpoint now."""
        self._orchestrator.child.signal(signal.SIGUSR1)

    def _start_all(self, data_replicas: int) -> None:
        for number in range(1, data_replicas + 1):
            self._data_services.append(self._start_data_service(data_service_name(number)))
        self.data = ",".join(addresses.listen for service in self._data_services if (addresses := service.addresses) is not None)
        self._orchestrator = add_service(
            self._supervisor, self.run_dir, ORCHESTRATOR, lambda addresses: start_orchestrator(self.run_dir, self.run_dir.name, self._options, addresses)
        )
        assert self._orchestrator.addresses is not None
        self.orchestrator, self.status = self._orchestrator.addresses.listen, self._orchestrator.addresses.http

    def _start_data_service(self, name: str) -> Process:
        return add_service(self._supervisor, self.run_dir, name, lambda addresses: start_data_service(self.run_dir, name, self._dataset, addresses))

    def _watch(self) -> None:
        metrics = JsonLinesFile(self.run_dir / "metrics.jsonl")
        while not self._stopping.wait(_TICK_SECONDS):
            metrics.read_new()
            try:
                self._supervisor.poll(len(metrics.lines))
            except ChildFailed as error:
                # The worker in this process finds out by itself; this is why.
                _LOG.error("%s", error)
                return

    @property
    def orchestrator_child(self) -> Child:
        """Its process."""
        return self._orchestrator.child

    @property
    def data_child(self) -> Child:
        """The process of the first replica of the data service."""
        return self._data_services[0].child

    def stop(self) -> None:
        """Stops all, the orchestrator first: it writes the last state of the run."""
        if self._before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._before)
            self._before = None
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        for process in reversed(self._supervisor.processes):
            self._supervisor.stop([process])
