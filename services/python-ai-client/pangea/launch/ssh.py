"""`--backend ssh`: the processes of a run on several hosts, each under an `ssh` of its own that this process looks after.

The hosts see the run's directory, the script and the data at the same paths, and the programs in one folder or on their PATH.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pangea.launch.job import CannotLaunch, Job
from pangea.launch.session import Session
from pangea.launch.settings import Settings
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR, Addresses
from pangea.services.child import Child
from pangea.services.restarts import RestartPolicy
from pangea.services.supervisor import Process

# No questions, and a host that is silent for six seconds is lost.
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3")
# What ssh itself ends with when the connection or the remote process is gone.
_LOST = 255
_ORCHESTRATOR_PORT, _DATA_PORT = 8080, 9090
# Longest that a service waits for an earlier one of its name, which may still write a checkpoint.
_PREDECESSOR_SECONDS = 60

# The process lives no longer than the connection: when that closes, `cat` ends. A shell gives what it starts in the background an empty input, hence the 3.
_WATCHED = """exec 3<&0
{command} 3<&- &
child=$!
(cat <&3; kill $child) >/dev/null 2>&1 &
watcher=$!
wait $child
code=$?
kill $watcher 2>/dev/null
exit $code"""


@dataclass(frozen=True)
class Hosts:
    """Where the processes go.

    Attributes:
        names: as `ssh` takes them, USER@HOST or HOST; the part behind @ is where workers look for services. The first one has the orchestrator.
        programs: the folder of go-orchestrator, rust-compute and pangea on the hosts; "" for their PATH.
    """

    names: tuple[str, ...]
    programs: str = ""

    @classmethod
    def read(cls, names: tuple[str, ...], file: Path | None, programs: str) -> Hosts:
        """From the command line and a file with one host a line, where # begins a comment.

        Raises:
            CannotLaunch: there is no host, or one that ssh would take for an option.
        """
        lines = file.read_text().splitlines() if file is not None else []
        found = (*names, *(host for line in lines if (host := line.partition("#")[0].strip())))
        if not found:
            raise CannotLaunch("--backend ssh needs hosts: --host USER@HOST, once for each, or --hosts FILE with one a line")
        for host in found:
            if host.startswith("-") or len(host.split()) != 1:
                raise CannotLaunch(f"{host!r} is no host; it has to be HOST or USER@HOST")
        return cls(found, programs)

    def program(self, name: str) -> str:
        """How a host calls it."""
        return f"{self.programs}/{name}" if self.programs else name

    def of(self, index: int) -> str:
        """The host of the process with this number, from 0."""
        return self.names[index % len(self.names)]


def _reached(host: str, port: int) -> str:
    return f"{host.rpartition('@')[2]}:{port}"


@dataclass(frozen=True)
class Remote:
    """One process: its name, its host, and what `ssh` is called with."""

    name: str
    host: str
    command: list[str]


def _remote(job: Job, name: str, host: str, command: list[str], *, service: bool = False) -> Remote:
    if service:
        lock = job.run_dir / "logs" / f"{name}.lock"
        command = ["flock", "--no-fork", "--timeout", str(_PREDECESSOR_SECONDS), str(lock), *command]
    script = _WATCHED.format(command=shlex.join(command))
    # Whatever the user's own shell is.
    return Remote(name, host, [*_SSH, host, f"exec sh -c {shlex.quote(script)}"])


def orchestrator(job: Job, hosts: Hosts) -> Remote:
    """On the first host."""
    addresses = Addresses(f"0.0.0.0:{_ORCHESTRATOR_PORT}", f"0.0.0.0:{_ORCHESTRATOR_PORT + 1}")
    return _remote(job, ORCHESTRATOR, hosts.of(0), job.orchestrator(hosts.program(ORCHESTRATOR), addresses), service=True)


def data_service(job: Job, hosts: Hosts, index: int) -> Remote:
    """The replica with this number, from 0. Each has ports of its own, since several may share a host."""
    name, port = job.data_services[index], _DATA_PORT + 2 * index
    command = job.data_service(name, hosts.program(DATA_SERVICE), Addresses(f"0.0.0.0:{port}", f"0.0.0.0:{port + 1}"))
    return _remote(job, name, hosts.of(index), command, service=True)


def worker(job: Job, hosts: Hosts, index: int) -> Remote:
    """The worker with this number, from 0."""
    name = f"worker-{index + 1}"
    data = [_reached(hosts.of(number), _DATA_PORT + 2 * number) for number in range(job.settings.data_replicas)]
    environment = job.environment(name, _reached(hosts.of(0), _ORCHESTRATOR_PORT), data)
    command = ["env", *(f"{key}={value}" for key, value in environment.items()), *job.worker(hosts.program("pangea"))]
    return _remote(job, name, hosts.of(index), command)


def render(job: Job, hosts: Hosts) -> str:
    """The command of each process, with its host in a comment above it."""
    processes = [data_service(job, hosts, index) for index in range(job.settings.data_replicas)]
    processes += [orchestrator(job, hosts), *(worker(job, hosts, index) for index in range(job.settings.workers))]
    return "\n".join(f"# {process.name} on {process.host}\n{shlex.join(process.command)}" for process in processes)


class RemoteChild(Child):
    """A process on another host, with its `ssh` as the child of this one."""

    def __init__(self, remote: Remote, log: Path) -> None:
        super().__init__(remote.name, remote.command, log, stdin=subprocess.PIPE)

    def exit_code(self) -> int | None:
        """As `subprocess` counts: -N after signal N, which a shell calls 128 + N. A lost connection counts as a kill."""
        code = super().exit_code()
        if code == _LOST:
            return -int(signal.SIGKILL)
        return 128 - code if code is not None and code > 128 else code

    def signal(self, number: signal.Signals) -> None:
        """SIGTERM reaches the remote process as the end of its input; other signals do not."""
        if number is signal.SIGTERM and self.process.stdin is not None:
            self.process.stdin.close()


class SshSession(Session):
    """A run whose processes are on other hosts."""

    def __init__(self, hosts: Hosts, settings: Settings, run_dir: Path, run_id: str, policy: RestartPolicy, on_event: Callable[[str], None]) -> None:
        super().__init__(settings, run_dir, run_id, policy, on_event)
        self._job, self._hosts = Job(settings, run_id, run_dir), hosts

    def _add(self, remote: Remote, is_service: bool) -> Process:
        log = self.run_dir / "logs" / f"{remote.name}.log"
        return self.supervisor.add(remote.name, lambda: RemoteChild(remote, log), is_service=is_service)

    def _check_machine(self) -> None:
        """It is not this machine that computes."""

    def _start_data_service(self, name: str) -> Process:
        return self._add(data_service(self._job, self._hosts, self._job.data_services.index(name)), is_service=True)

    def _start_orchestrator(self) -> Process:
        return self._add(orchestrator(self._job, self._hosts), is_service=True)

    def checkpoint(self) -> bool:
        """A signal does not reach processes on other hosts."""
        return False

    def add_worker(self) -> Process:
        """Starts one more worker, which waits by itself until the services can be reached."""
        process = self._add(worker(self._job, self._hosts, len(self.workers)), is_service=False)
        self.workers.append(process)
        return process
