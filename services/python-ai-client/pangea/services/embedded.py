"""The services of a run that `pangea.join` starts when no launcher has: children of the script, on free ports."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
from pathlib import Path

from pangea import datasets
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import data_service_name, new_run_dir
from pangea.services.child import Child, ChildFailed
from pangea.services.options import RunOptions
from pangea.services.restarts import RestartPolicy
from pangea.services.supervised import add_data_service, add_orchestrator
from pangea.services.supervisor import Process, Supervisor

_POLL_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


class EmbeddedServices:
    """The running services of one run. Created by `start`.

    Attributes:
        orchestrator: the address at which it listens for workers: `unix:/path|host:port`, or host:port.
        data: the addresses of all replicas of the data service, separated by commas: `unix:/path|host:port` each.
        status: the orchestrator's HTTP address, host:port.
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path, options: RunOptions, dataset: str) -> None:
        self.run_dir, self._options, self._dataset = run_dir, options, dataset
        self.orchestrator = self.data = self.status = ""
        self._supervisor = Supervisor(RestartPolicy(), lambda event: _LOG.warning("%s", event))
        self._data_services: list[Process] = []
        self._stopping = threading.Event()
        self._supervising: threading.Thread | None = None
        self._previous_handler: signal.Handlers | None = None

    @classmethod
    def start(
        cls,
        options: RunOptions,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        dataset: str = datasets.DEFAULT,
        data_replicas: int = 1,
        keep_alive: bool = False,
    ) -> EmbeddedServices:
        """Starts all services and waits until they are ready.

        When called from the main thread, SIGUSR1 requests a checkpoint until `stop`, unless the process already handles
        it.

        Args:
            options: of the run. PANGEA_ALLOW_NONDETERMINISM=1 in the environment turns `strict` off, as it does for the
                worker.
            run_dir: the run directory; default: `pangea-runs/TIME-SEED`.
            dataset: a dataset spec.
            data_replicas: the number of processes that serve the data; 0 for a script with its own dataset.
            keep_alive: whether services that are killed are restarted.
        Raises:
            ChildFailed: a service failed; the message includes the end of its log.
            UnknownDataset: the spec is wrong; the message says where.
            FileExistsError: the run directory already holds a run.
            DiskError: the run directory cannot be created.
        """
        spec = datasets.parse(dataset).spec if data_replicas else ""
        if os.environ.get("PANGEA_ALLOW_NONDETERMINISM") == "1":
            options = dataclasses.replace(options, strict=False)
        services = cls(new_run_dir(run_dir, options.seed), options, spec)
        try:
            services._start_all(data_replicas)
        except BaseException:
            services.stop()
            raise
        if keep_alive:
            services._supervising = threading.Thread(target=services._supervise, name="pangea-services", daemon=True)
            services._supervising.start()
        services._handle_sigusr1()
        return services

    def _handle_sigusr1(self) -> None:
        """Makes SIGUSR1 request a checkpoint.

        A cluster sends it to all processes; without a handler this one would die.
        """
        previous = signal.getsignal(signal.SIGUSR1)
        if threading.current_thread() is threading.main_thread() and isinstance(previous, signal.Handlers):
            signal.signal(signal.SIGUSR1, lambda _number, _frame: self.checkpoint())
            self._previous_handler = previous

    def checkpoint(self) -> None:
        """Requests a checkpoint from the orchestrator."""
        self._orchestrator.child.signal(signal.SIGUSR1)

    def _start_all(self, data_replicas: int) -> None:
        for number in range(1, data_replicas + 1):
            name = data_service_name(number)
            self._data_services.append(add_data_service(self._supervisor, self.run_dir, name, self._dataset))
        for service in self._data_services:
            service.wait_ready()
        self.data = ",".join(
            addresses.for_workers for service in self._data_services if (addresses := service.addresses) is not None
        )
        self._orchestrator = add_orchestrator(self._supervisor, self.run_dir, self.run_dir.name, self._options)
        self._orchestrator.wait_ready()
        assert self._orchestrator.addresses is not None
        self.orchestrator, self.status = self._orchestrator.addresses.for_workers, self._orchestrator.addresses.http

    def _supervise(self) -> None:
        metrics = JsonLinesFile(self.run_dir / "metrics.jsonl")
        while not self._stopping.wait(_POLL_SECONDS):
            metrics.read_new()
            try:
                self._supervisor.poll(len(metrics.lines))
            except ChildFailed as error:
                # The worker in this process notices the lost connection; this log entry has the reason.
                _LOG.error("%s", error)
                return

    @property
    def orchestrator_child(self) -> Child:
        """The orchestrator's process."""
        return self._orchestrator.child

    @property
    def data_child(self) -> Child:
        """The process of the first replica of the data service."""
        return self._data_services[0].child

    def stop(self) -> None:
        """Stops all services, the orchestrator first, which writes the final state of the run."""
        if self._previous_handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._previous_handler)
            self._previous_handler = None
        self._stopping.set()
        if self._supervising is not None:
            self._supervising.join()
        for process in reversed(self._supervisor.processes):
            self._supervisor.stop([process])
