"""`--backend ray`: one actor per process of a run, on an existing Ray cluster.

Ray places the actors, and places them again when a node is lost.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.launch import local
from pangea.launch.identities import Identities, insecure_environment, wants_identities
from pangea.launch.job import CannotLaunch, Job
from pangea.launch.ray_keeper import Credentials, Exit, Keeper, events_file, stop_file
from pangea.launch.settings import Settings
from pangea.rundir.json_lines import JsonLinesFile
from pangea.rundir.layout import ORCHESTRATOR, read_record
from pangea.services.child import ChildFailed
from pangea.services.restarts import ExitStatus, RestartPolicy

# Longer than the time that a keeper gives its process.
_STOP_SECONDS = 20.0
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class RayCluster:
    """The cluster that runs the job.

    Attributes:
        address: of the cluster, as for `ray.init`.
        cpus: CPUs that each process reserves on its node.
        secure: whether the processes know each other by certificates; None if a node is beyond the loopback.
    """

    address: str
    cpus: float
    secure: bool | None = None


def _options(cluster: RayCluster) -> dict[str, Any]:
    """The options of each actor. Ray restarts it without limit, and retries the call that keeps its process alive."""
    return {"num_cpus": cluster.cpus, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": "SPREAD"}


def _gpus(job: Job, name: str) -> dict[str, float]:
    """The GPUs that the process reserves; Ray tells it which they are, in CUDA_VISIBLE_DEVICES."""
    share = job.settings.gpus_per_worker
    return {"num_gpus": share} if share and name in job.workers else {}


def _names(job: Job) -> list[str]:
    return [*job.data_services, ORCHESTRATOR, *job.workers]


def render(job: Job, cluster: RayCluster) -> str:
    """One JSON object per actor, with the command that it keeps alive."""
    commands = dict(zip(_names(job), local.render(job).splitlines(), strict=True))
    lines = [
        f"# on the cluster at {cluster.address}; each node substitutes its own programs, interpreter and addresses in"
        " the commands"
    ]
    return "\n".join(
        [
            *lines,
            *(
                json.dumps({"actor": name, **_options(cluster), **_gpus(job, name), "command": shlex.split(command)})
                for name, command in commands.items()
            ),
        ]
    )


def import_ray() -> Any:
    """Imports and returns the package ray, which is needed by this backend only.

    Raises:
        CannotLaunch: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise CannotLaunch(
            "--backend ray needs the package ray in the cluster's version: `pip install ray==VERSION`, or in a checkout"
            " ./bazelw run //services/python-ai-client:cli_with_ray"
        ) from error


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at host:port. Ray itself would retry for more than ten minutes."""
    if found := re.fullmatch(r"([-.\w]+):(\d+)", address):
        socket.create_connection((found[1], int(found[2])), _CONNECT_SECONDS).close()


class RaySession:
    """A run on a Ray cluster; implements `pangea.launch.train.RunSession`."""

    def __init__(
        self,
        cluster: RayCluster,
        settings: Settings,
        run_dir: Path,
        run_id: str,
        _policy: RestartPolicy,
        on_event: Callable[[str], None],
    ) -> None:
        self._ray, self._cluster, self._job, self._on_event = (
            import_ray(),
            cluster,
            Job(settings, run_id, run_dir),
            on_event,
        )
        self._metrics, self._events = JsonLinesFile(run_dir / "metrics.jsonl"), JsonLinesFile(events_file(run_dir))
        self._actors: dict[str, Any] = {}
        self._calls: dict[str, Any] = {}
        self._exits: dict[str, Exit] = {}
        self._restarts: Counter[str] = Counter()

    def start(self) -> None:
        """Submits all actors. Ray starts each one as soon as a node has enough free CPUs.

        Raises:
            ChildFailed: the cluster cannot be reached.
        """
        try:
            _check_reachable(self._cluster.address)
            self._ray.init(
                address=self._cluster.address, namespace=self._job.run_id, log_to_driver=False, logging_level="ERROR"
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ChildFailed(f"there is no Ray cluster at {self._cluster.address}: {error}") from error
        names = _names(self._job)
        available = self._ray.cluster_resources().get("CPU", 0.0)
        if len(names) * self._cluster.cpus > available:
            self._on_event(
                f"the cluster has {available:g} CPUs, and {len(names)} processes reserve {self._cluster.cpus:g} each:"
                " some have to wait"
            )
        nodes = [str(node["NodeManagerAddress"]) for node in self._ray.nodes()]
        secure = wants_identities(self._cluster.secure, nodes)
        identities = Identities(self._job.run_id, self._job.workers) if secure else None
        if identities is not None:
            identities.leave_viewer(self._job.run_dir)
        keeper = self._ray.remote(**_options(self._cluster))(Keeper)
        for name in names:
            # An argument of the actor: Ray hands it to the node again after a loss, and shows it nowhere.
            credentials = Credentials(
                identities.of(name) if identities is not None else None, insecure_environment(self._cluster.secure)
            )
            options = {"name": name, **_gpus(self._job, name)}
            self._actors[name] = keeper.options(**options).remote(self._job, name, credentials)
            self._calls[name] = self._actors[name].run.remote()

    def poll(self) -> list[dict[str, Any]]:
        """Reports what has happened, and returns the lines that were added to metrics.jsonl since the last call.

        Raises:
            ChildFailed: a service has failed, or all workers have.
        """
        for line in self._events.read_new():
            self._restarts[line["name"]] += 1
            self._on_event(f"{line['name']} {line['event']}")
        self._collect(0.0, list(self._calls))
        for name, end in self._exits.items():
            if end.status is ExitStatus.FAILED and name not in self._job.workers:
                raise ChildFailed(end.message)
        if len(self.failed_workers) == len(self._job.workers):
            raise ChildFailed(self._exits[self.failed_workers[0]].message)
        return self._metrics.read_new()

    def wait(self, seconds: float) -> None:
        """Waits for this time: a look at the cluster costs more than a process that exits meanwhile could save."""
        time.sleep(seconds)

    def _collect(self, timeout: float, names: list[str]) -> None:
        """Records which of these processes have exited, after waiting up to `timeout` seconds for all of them."""
        calls = {self._calls[name]: name for name in names if name not in self._exits}
        if not calls:
            return
        for call in self._ray.wait(list(calls), num_returns=len(calls), timeout=timeout)[0]:
            name = calls[call]
            try:
                self._exits[name] = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._exits[name] = Exit(ExitStatus.FAILED, f"the actor of {name} failed: {error}")
            if self._exits[name].status is ExitStatus.FAILED and name in self._job.workers:
                self._on_event(f"{self._exits[name].message}\nThe other workers continue.")

    @property
    def over(self) -> bool:
        """Whether all workers or the orchestrator have exited."""
        return ORCHESTRATOR in self._exits or all(name in self._exits for name in self._job.workers)

    @property
    def left_early(self) -> list[str]:
        """The names of the workers, if all have exited without an error while the orchestrator still runs."""
        workers = self._job.workers
        exited = all(name in self._exits and self._exits[name].status is ExitStatus.EXITED for name in workers)
        return workers if exited and ORCHESTRATOR not in self._exits else []

    def checkpoint(self) -> bool:
        """Returns false: a signal cannot be sent to a process on another node."""
        return False

    @property
    def failed_workers(self) -> list[str]:
        """The names of the workers that failed."""
        return [
            name for name in self._job.workers if name in self._exits and self._exits[name].status is ExitStatus.FAILED
        ]

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was restarted, without those that never were."""
        return dict(self._restarts)

    def record(self) -> dict[str, Any]:
        """The content of run.json; empty while it does not exist."""
        return read_record(self._job.run_dir)

    def stop(self) -> None:
        """Stops the orchestrator first, since its last checkpoint needs a worker; then all others."""
        if not self._ray.is_initialized():
            return
        for names in ([ORCHESTRATOR], [*self._job.workers, *self._job.data_services]):
            started = [name for name in names if name in self._calls]
            for name in started:
                stop_file(self._job.run_dir, name).touch()
            self._collect(_STOP_SECONDS, started)
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()
        for name in self._calls:
            stop_file(self._job.run_dir, name).unlink(missing_ok=True)
