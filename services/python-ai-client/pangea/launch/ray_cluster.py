"""`--backend ray`: an actor for each process of a run, on a Ray cluster that is there already. Ray places them, and places them anew when a node is lost."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.launch import local
from pangea.launch.job import CannotLaunch, Job
from pangea.launch.ray_keeper import Ended, Keeper, events_file, stop_file
from pangea.launch.settings import Settings
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR
from pangea.services.child import ChildFailed
from pangea.services.restarts import ExitStatus, RestartPolicy

# Longer than a keeper gives its process.
_STOP_SECONDS = 20.0
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class RayCluster:
    """Where the run goes.

    Attributes:
        address: of the cluster, as `ray.init` takes it.
        cpus: that each process reserves, of a node's.
    """

    address: str
    cpus: float


def _options(cluster: RayCluster) -> dict[str, Any]:
    """Of each actor. It is started again for ever, and so is the call that keeps its process alive."""
    return {"num_cpus": cluster.cpus, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": "SPREAD"}


def _names(job: Job) -> list[str]:
    return [*job.data_services, ORCHESTRATOR, *job.workers]


def render(job: Job, cluster: RayCluster) -> str:
    """Each actor as a JSON object, with the command that it keeps alive."""
    commands = dict(zip(_names(job), local.render(job).splitlines(), strict=True))
    lines = [f"# on the cluster at {cluster.address}; a node puts its own programs, interpreter and addresses into the commands"]
    return "\n".join([*lines, *(json.dumps({"actor": name, **_options(cluster), "command": shlex.split(command)}) for name, command in commands.items())])


def find_ray() -> Any:
    """The package.

    Raises:
        CannotLaunch: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise CannotLaunch(
            "--backend ray needs the package ray, of the cluster's own version: `pip install ray==VERSION`, or in a checkout ./bazelw run //services/python-ai-client:cli_with_ray"
        ) from error


def _reach(address: str) -> None:
    """Raises OSError where nobody listens at host:port. Ray itself would try for more than ten minutes."""
    if found := re.fullmatch(r"([-.\w]+):(\d+)", address):
        socket.create_connection((found[1], int(found[2])), _CONNECT_SECONDS).close()


class RaySession:
    """A run on the cluster; a `pangea.launch.train.RunSession`."""

    def __init__(self, cluster: RayCluster, settings: Settings, run_dir: Path, run_id: str, _policy: RestartPolicy, on_event: Callable[[str], None]) -> None:
        self._ray, self._cluster, self._job, self._on_event = find_ray(), cluster, Job(settings, run_id, run_dir), on_event
        self._metrics, self._events = JsonLinesFile(run_dir / "metrics.jsonl"), JsonLinesFile(events_file(run_dir))
        self._actors: dict[str, Any] = {}
        self._calls: dict[str, Any] = {}
        self._ended: dict[str, Ended] = {}
        self._restarts: Counter[str] = Counter()

    def start(self) -> None:
        """Submits all actors. Ray starts them where and when there is room.

        Raises:
            ChildFailed: there is no such cluster.
        """
        try:
            _reach(self._cluster.address)
            self._ray.init(address=self._cluster.address, namespace=self._job.run_id, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise ChildFailed(f"there is no Ray cluster at {self._cluster.address}: {error}") from error
        names = _names(self._job)
        there = self._ray.cluster_resources().get("CPU", 0.0)
        if len(names) * self._cluster.cpus > there:
            self._on_event(f"the cluster has {there:g} CPUs, and {len(names)} processes want {self._cluster.cpus:g} each: some wait for room")
        keeper = self._ray.remote(**_options(self._cluster))(Keeper)
        for name in names:
            self._actors[name] = keeper.options(name=name).remote(self._job, name)
            self._calls[name] = self._actors[name].run.remote()

    def poll(self) -> list[dict[str, Any]]:
        """Tells what has happened; gives the lines that metrics.jsonl has got since the last call.

        Raises:
            ChildFailed: a service has failed, or all workers have.
        """
        for line in self._events.read_new():
            self._restarts[line["name"]] += 1
            self._on_event(f"{line['name']} {line['event']}")
        self._collect(0.0, list(self._calls))
        for name, ended in self._ended.items():
            if ended.status is ExitStatus.FAILED and name not in self._job.workers:
                raise ChildFailed(ended.message)
        if len(self.failed_workers) == len(self._job.workers):
            raise ChildFailed(self._ended[self.failed_workers[0]].message)
        return self._metrics.read_new()

    def _collect(self, timeout: float, names: list[str]) -> None:
        """Notes which of these processes have ended, after at most `timeout` seconds of waiting for all."""
        calls = {self._calls[name]: name for name in names if name not in self._ended}
        if not calls:
            return
        for call in self._ray.wait(list(calls), num_returns=len(calls), timeout=timeout)[0]:
            name = calls[call]
            try:
                self._ended[name] = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._ended[name] = Ended(ExitStatus.FAILED, f"the actor of {name} ended with {error}")
            if self._ended[name].status is ExitStatus.FAILED and name in self._job.workers:
                self._on_event(f"{self._ended[name].message}\nThe others go on.")

    @property
    def over(self) -> bool:
        """Whether all workers have ended, or somebody asked the orchestrator to stop."""
        return ORCHESTRATOR in self._ended or all(name in self._ended for name in self._job.workers)

    @property
    def left(self) -> list[str]:
        """Names of the workers, if all have ended without an error and the orchestrator still waits for some."""
        workers = self._job.workers
        ended = all(name in self._ended and self._ended[name].status is ExitStatus.EXITED for name in workers)
        return workers if ended and ORCHESTRATOR not in self._ended else []

    def checkpoint(self) -> bool:
        """A signal does not reach processes on other nodes."""
        return False

    @property
    def failed_workers(self) -> list[str]:
        """Names of the workers that ended with an error."""
        return [name for name in self._job.workers if name in self._ended and self._ended[name].status is ExitStatus.FAILED]

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again, of those that were."""
        return dict(self._restarts)

    def record(self) -> dict[str, Any]:
        """run.json, read; empty before it is there."""
        file = self._job.run_dir / "run.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def stop(self) -> None:
        """Asks the orchestrator to end first, since its last checkpoint needs a worker; then all others."""
        if not self._ray.is_initialized():
            return
        for names in ([ORCHESTRATOR], [*self._job.workers, *self._job.data_services]):
            there = [name for name in names if name in self._calls]
            for name in there:
                stop_file(self._job.run_dir, name).touch()
            self._collect(_STOP_SECONDS, there)
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()
        for name in self._calls:
            stop_file(self._job.run_dir, name).unlink(missing_ok=True)
