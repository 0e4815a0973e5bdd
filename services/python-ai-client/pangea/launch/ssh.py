"""`--backend ssh`: the processes of a run on several hosts, each behind an `ssh` process that is supervised here.

The hosts have the run directory, the script and the data at the same paths, and pangea: in the same environment as this
machine, on their PATH, or with both services in one folder. Each process gets its certificate through its `ssh`.
"""

from __future__ import annotations

import base64
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pangea.identity.directory import Identity
from pangea.launch.gpus import visible
from pangea.launch.identities import Identities, insecure_environment, wants_identities
from pangea.launch.job import CannotLaunch, Job
from pangea.launch.session import Session
from pangea.launch.settings import Settings
from pangea.places import data_folder, installed_commands
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR, Addresses
from pangea.services.child import Child
from pangea.services.restarts import RestartPolicy
from pangea.services.supervisor import Process

# Never prompts, and drops the connection to a host that is silent for six seconds.
_SSH = (
    "ssh",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=2",
    "-o",
    "ServerAliveCountMax=3",
)
# The exit code of ssh itself when the connection is lost.
_CONNECTION_LOST = 255
_ORCHESTRATOR_PORT, _DATA_PORT = 8080, 9090
# How long a service waits for its predecessor, which may still be writing a checkpoint.
_PREDECESSOR_SECONDS = 60

PANGEA = "pangea"

# The identity arrives as the first line of the input, a tar archive in base64: neither a command line nor a disk that
# others share has it. It is removed with the process. A here-document, because arguments could be seen.
_TAKE_IDENTITY = """mask=$(umask)
umask 077
identity=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/pangea.XXXXXXXX") || exit 1
trap 'rm -rf "$identity"' EXIT
IFS= read -r line
base64 -d <<END | tar -x -C "$identity" || exit 1
$line
END
unset line
export PANGEA_IDENTITY="$identity"
umask "$mask"
"""
# Ends the process when the connection closes: `cat` then reaches the end of its input. A shell redirects the input of
# background commands from /dev/null, hence file descriptor 3.
_KILL_ON_DISCONNECT = """exec 3<&0
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
    """The hosts of a run.

    Attributes:
        names: as for `ssh`, USER@HOST or HOST; workers connect to HOST. The orchestrator runs on the first one.
        programs: the folder of go-orchestrator, rust-compute and pangea on the hosts; "" for what pangea brings along.
        commands: a folder in which the hosts look for `pangea` before their PATH: that of this machine's environment,
            which may be on storage that they share.
        secure: whether the processes know each other by certificates; None if they leave the loopback.
    """

    names: tuple[str, ...]
    programs: str = ""
    commands: str = ""
    secure: bool | None = None

    @classmethod
    def read(cls, names: tuple[str, ...], file: Path | None, programs: str, secure: bool | None = None) -> Hosts:
        """The hosts from the command line and from a file with one host per line, in which # begins a comment.

        Raises:
            CannotLaunch: there is no host, or one that ssh would interpret as an option.
        """
        lines = file.read_text().splitlines() if file is not None else []
        found = (*names, *(host for line in lines if (host := line.partition("#")[0].strip())))
        if not found:
            raise CannotLaunch(
                "--backend ssh needs hosts: --host USER@HOST, once for each, or --hosts FILE with one per line"
            )
        for host in found:
            if host.startswith("-") or len(host.split()) != 1:
                raise CannotLaunch(f"{host!r} is not a host; write HOST or USER@HOST")
        return cls(found, programs, str(installed_commands() or ""), secure)

    @property
    def with_identities(self) -> bool:
        """Whether each process gets a certificate."""
        return wants_identities(self.secure, (_network_name(name) for name in self.names))

    def program(self, name: str) -> list[str]:
        """The words by which a host starts the program."""
        if self.programs:
            return [f"{self.programs}/{name}"]
        return [PANGEA] if name == PANGEA else [PANGEA, "program", name]

    @property
    def setup(self) -> str:
        """What a host's shell does first: it finds `pangea` in the environment of this machine, if it has it."""
        if self.programs or not self.commands:
            return ""
        return f'PATH={shlex.quote(self.commands)}:"$PATH"; export PATH\n'

    def of(self, index: int) -> str:
        """The host of the process with this index, from 0."""
        return self.names[index % len(self.names)]


def _network_name(host: str) -> str:
    return host.rpartition("@")[2]


def _address(host: str, port: int) -> str:
    return f"{_network_name(host)}:{port}"


def _service_addresses(host: str, port: int) -> Addresses:
    """Those that workers are told, so that a service is reached in no other network of its host."""
    return Addresses(_address(host, port), _address(host, port + 1))


@dataclass(frozen=True)
class Remote:
    """A process on a host, with the command line of its `ssh`."""

    name: str
    host: str
    command: list[str]


def _remote(job: Job, hosts: Hosts, name: str, host: str, command: list[str], *, service: bool = False) -> Remote:
    if service:
        if variables := insecure_environment(hosts.secure):
            command = ["env", *(f"{key}={value}" for key, value in variables.items()), *command]
        lock = job.run_dir / "logs" / f"{name}.lock"
        command = ["flock", "--no-fork", "--timeout", str(_PREDECESSOR_SECONDS), str(lock), *command]
    script = _KILL_ON_DISCONNECT.format(command=shlex.join(command))
    if hosts.with_identities:
        script = _TAKE_IDENTITY + script
    script = hosts.setup + script
    # The user's login shell may not be a POSIX shell.
    return Remote(name, host, [*_SSH, host, f"exec sh -c {shlex.quote(script)}"])


def orchestrator(job: Job, hosts: Hosts) -> Remote:
    """The orchestrator, on the first host."""
    addresses = _service_addresses(hosts.of(0), _ORCHESTRATOR_PORT)
    command = job.orchestrator(hosts.program(ORCHESTRATOR), addresses)
    return _remote(job, hosts, ORCHESTRATOR, hosts.of(0), command, service=True)


def data_service(job: Job, hosts: Hosts, index: int) -> Remote:
    """The data service replica with this index, from 0. Each has its own ports, since several may share a host."""
    name, addresses = job.data_services[index], _service_addresses(hosts.of(index), _DATA_PORT + 2 * index)
    # The command `pangea program` of a host knows where that host has the data.
    data = data_folder() if hosts.programs else None
    command = job.data_service(name, hosts.program(DATA_SERVICE), addresses, data)
    return _remote(job, hosts, name, hosts.of(index), command, service=True)


def worker(job: Job, hosts: Hosts, index: int) -> Remote:
    """The worker with this index, from 0."""
    name = f"worker-{index + 1}"
    data = [_address(hosts.of(number), _DATA_PORT + 2 * number) for number in range(job.settings.data_replicas)]
    # Workers are given to the hosts in turn.
    gpus = visible(job.settings.gpus_per_worker, index // len(hosts.names))
    environment = job.environment(name, _address(hosts.of(0), _ORCHESTRATOR_PORT), data) | gpus
    command = ["env", *(f"{key}={value}" for key, value in environment.items()), *job.worker(hosts.program(PANGEA))]
    return _remote(job, hosts, name, hosts.of(index), command)


def render(job: Job, hosts: Hosts) -> str:
    """The command of each process, with its host in a comment above it."""
    processes = [data_service(job, hosts, index) for index in range(job.settings.data_replicas)]
    processes += [orchestrator(job, hosts), *(worker(job, hosts, index) for index in range(job.settings.workers))]
    return "\n".join(f"# {process.name} on {process.host}\n{shlex.join(process.command)}" for process in processes)


class RemoteChild(Child):
    """A process on another host, represented by its `ssh` process."""

    def __init__(self, remote: Remote, log: Path, identity: Identity | None = None) -> None:
        super().__init__(remote.name, remote.command, log, stdin=subprocess.PIPE)
        if identity is None or self.process.stdin is None:
            return
        # An `ssh` that has exited already is noticed by its exit code.
        with suppress(BrokenPipeError):
            self.process.stdin.write(base64.b64encode(identity.archive()) + b"\n")
            self.process.stdin.flush()

    def exit_code(self) -> int | None:
        """The exit code as `subprocess` would report it.

        A shell's 128 + N becomes -N, and a lost connection counts as a kill.
        """
        code = super().exit_code()
        if code == _CONNECTION_LOST:
            return -int(signal.SIGKILL)
        return 128 - code if code is not None and code > 128 else code

    def signal(self, number: signal.Signals) -> None:
        """Forwards SIGTERM, by closing the input of `ssh`; other signals cannot be forwarded."""
        if number is signal.SIGTERM and self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


class SshSession(Session):
    """A run whose processes are on other hosts, reached by ssh."""

    def __init__(
        self,
        hosts: Hosts,
        settings: Settings,
        run_dir: Path,
        run_id: str,
        policy: RestartPolicy,
        on_event: Callable[[str], None],
    ) -> None:
        super().__init__(settings, run_dir, run_id, policy, on_event)
        self._job, self._hosts = Job(settings, run_id, run_dir), hosts
        self._identities = Identities(run_id, self._job.workers) if hosts.with_identities else None
        if self._identities is not None:
            self._identities.leave_viewer(run_dir)

    def _add(self, remote: Remote, is_service: bool) -> Process:
        log, identities = self.run_dir / "logs" / f"{remote.name}.log", self._identities

        def start() -> RemoteChild:
            return RemoteChild(remote, log, identities.of(remote.name) if identities is not None else None)

        return self.supervisor.add(remote.name, start, is_service=is_service)

    def _check_machine(self) -> None:
        """Checks nothing, since this machine does not compute."""

    @property
    def _waits_for_wish(self) -> bool:
        # Workers know the address from the start, and would wait for a service that nobody starts.
        return False

    def _start_data_service(self, name: str) -> Process:
        return self._add(data_service(self._job, self._hosts, self._job.data_services.index(name)), is_service=True)

    def _start_orchestrator(self) -> Process:
        return self._add(orchestrator(self._job, self._hosts), is_service=True)

    def checkpoint(self) -> bool:
        """Returns false: a signal cannot be sent to a process on another host."""
        return False

    def add_worker(self) -> Process:
        """Starts one more worker, which waits until the services are reachable."""
        process = self._add(worker(self._job, self._hosts, len(self.workers)), is_service=False)
        self.workers.append(process)
        return process
