"""Keeps the processes of a run alive: what was killed is started again, under its name and at its address."""

from __future__ import annotations

import errno
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pangea.rundir.layout import Addresses
from pangea.services.child import Child, ChildFailed
from pangea.services.restarts import ExitStatus, RestartBackoff, RestartPolicy, exit_status

# Longest that a service waits for its own address, which another process may have taken in the meantime.
_ADDRESS_SECONDS = 30.0


@dataclass
class Process:
    """One process that is looked after.

    Attributes:
        start: makes it, at first and again.
        child: the newest one.
        is_service: whether the run needs it, unlike a worker.
        addresses: of a service on this machine; it is started again only when they are free.
        restarts: how often it was started again.
        restart_at: when it is to be started again; None while it runs, or when it is not to be.
    """

    name: str
    start: Callable[[], Child]
    child: Child
    backoff: RestartBackoff
    is_service: bool
    addresses: Addresses | None = None
    restarts: int = 0
    restart_at: float | None = None
    status: ExitStatus = ExitStatus.RUNNING
    killed_at: float = field(default=0.0, repr=False)

    @property
    def alive(self) -> bool:
        """Whether it runs, or will again."""
        return self.status is ExitStatus.RUNNING or self.restart_at is not None


class Supervisor:
    """Looks after processes whenever `look` is called; it has no thread of its own."""

    def __init__(self, policy: RestartPolicy, on_event: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Args:
        policy: of restarts.
        on_event: called with a sentence when a process ends or starts again.
        clock: seconds; only goes forward.
        """
        self._policy, self._on_event, self._clock = policy, on_event, clock
        self.processes: list[Process] = []

    def add(self, name: str, start: Callable[[], Child], addresses: Callable[[Child], Addresses] | None = None, is_service: bool = False) -> Process:
        """Starts a process and looks after it from now on.

        Args:
            name: of the process.
            start: makes it. A later call has to use the addresses that the first one got.
            addresses: of a service on this machine: waits until it is ready, and says where it listens.
            is_service: also without addresses.
        """
        child = start()
        process = Process(name, start, child, RestartBackoff(self._policy), is_service or addresses is not None)
        # Listed before it is ready, so that it is stopped if it never is.
        self.processes.append(process)
        if addresses is not None:
            process.addresses = addresses(child)
        return process

    def poll(self, progress: int) -> None:
        """Notices who has ended, and starts again who was killed.

        Args:
            progress: steps of the run so far.
        Raises:
            ChildFailed: a service has ended with an error, or a process is in a crash loop.
        """
        for process in self.processes:
            if process.status is ExitStatus.RUNNING:
                process.status = exit_status(process.child.exit_code(), process.is_service)
                self._notice(process, progress)
            if process.restart_at is not None and self._clock() >= process.restart_at:
                self._start_again(process)

    def _notice(self, process: Process, progress: int) -> None:
        if process.status is ExitStatus.FAILED:
            if process.is_service:
                raise process.child.failure()
            others = [other for other in self.processes if not other.is_service and other is not process]
            # When all have failed, whoever asked for the run raises it.
            if any(other.status is not ExitStatus.FAILED for other in others):
                self._on_event(str(process.child.failure()) + ("\nThe other workers go on." if any(other.alive for other in others) else ""))
        elif process.status is ExitStatus.KILLED:
            process.killed_at = self._clock()
            delay = process.backoff.after_death(process.killed_at, progress)
            if delay is None:
                raise ChildFailed(
                    f"{process.name} was {self._how(process)}; crash loop: {process.backoff.deaths - 1} restarts without progress at step {progress}. "
                    f"Is there too little memory, or a fault in the script? The end of {process.child.log}:\n{process.child.log_tail()}"
                )
            process.restart_at = process.killed_at + delay
            self._on_event(f"{process.name} was {self._how(process)}; " + (f"it is started again in {delay:.1f} s" if delay else "started again"))

    @staticmethod
    def _how(process: Process) -> str:
        number = -(process.child.exit_code() or 0)
        return f"killed (signal {number})"

    def _start_again(self, process: Process) -> None:
        now = self._clock()
        if process.addresses is not None and (address := address_in_use(process.addresses)) is not None:
            if now - process.killed_at > _ADDRESS_SECONDS:
                raise ChildFailed(
                    f"{process.name} was killed and cannot be started again: another process has had its address {address} for {_ADDRESS_SECONDS:.0f} s; stop that, and resume the run"
                )
            return
        process.child = process.start()
        process.restarts += 1
        process.restart_at, process.status = None, ExitStatus.RUNNING

    def stop(self, processes: list[Process], timeout: float = 10.0) -> None:
        """Asks processes to end, all at once, and waits for them; kills those that do not within `timeout` seconds."""
        for process in processes:
            process.restart_at = None
            process.child.signal(signal.SIGTERM)
        for process in processes:
            process.child.stop(timeout)
            if process.status is ExitStatus.RUNNING:
                process.status = ExitStatus.EXITED


def address_in_use(addresses: Addresses) -> str | None:
    """The first of them that cannot be bound now."""
    for address in (addresses.listen, addresses.http):
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            # As servers do; connections that are still closing are no obstacle then.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                return address
    return None
