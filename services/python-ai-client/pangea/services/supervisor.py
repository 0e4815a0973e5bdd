"""Keeps the processes of a run alive: a process that was killed is restarted under its name and at its address."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pangea.rundir.layout import Addresses
from pangea.services.child import Child, ChildFailed
from pangea.services.restarts import ExitStatus, RestartBackoff, RestartPolicy, exit_status

# How long the restart of a service waits for its address, which another process may have taken in the meantime.
_ADDRESS_WAIT_SECONDS = 30.0


@dataclass
class Process:
    """A supervised process.

    Attributes:
        start: starts it, at first and for each restart.
        child: its current or last child process.
        backoff: the delay of its restarts.
        is_service: whether it is a service, which the run needs, and not a worker.
        await_addresses: for a service on this machine: waits until it is ready, and returns its addresses.
        addresses: of a service on this machine, once it was ready; it is restarted only when they are free.
        restarts: how often it was restarted.
        restart_at: the time of its next restart; None while it runs, or if it is not to be restarted.
        status: as of the last `Supervisor.poll`.
        killed_at: the time of its last death.
    """

    name: str
    start: Callable[[], Child]
    child: Child
    backoff: RestartBackoff
    is_service: bool
    await_addresses: Callable[[Child], Addresses] | None = None
    addresses: Addresses | None = None
    restarts: int = 0
    restart_at: float | None = None
    status: ExitStatus = ExitStatus.RUNNING
    killed_at: float = field(default=0.0, repr=False)

    def wait_ready(self) -> None:
        """Waits until a service on this machine has its addresses; returns at once for any other process.

        Raises:
            ChildFailed: it failed; the message includes the end of its log.
        """
        if self.await_addresses is not None:
            self.addresses = self.await_addresses(self.child)

    @property
    def alive(self) -> bool:
        """Whether it runs or will be restarted."""
        return self.status is ExitStatus.RUNNING or self.restart_at is not None


class Supervisor:
    """Supervises processes whenever `poll` is called; it has no thread."""

    def __init__(
        self, policy: RestartPolicy, on_event: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Args:
        policy: how processes are restarted.
        on_event: called with a message when a process fails or is restarted.
        clock: monotonic seconds.
        """
        self._policy, self._on_event, self._clock = policy, on_event, clock
        self.processes: list[Process] = []

    def add(
        self,
        name: str,
        start: Callable[[], Child],
        await_addresses: Callable[[Child], Addresses] | None = None,
        is_service: bool = False,
    ) -> Process:
        """Starts a process and supervises it from now on. A service is not ready yet: see `Process.wait_ready`.

        Args:
            name: of the process.
            start: starts it. Later calls have to use the addresses that the first one chose.
            await_addresses: as of `Process`.
            is_service: whether it is a service; always true if `await_addresses` is given.
        """
        service = is_service or await_addresses is not None
        process = Process(name, start, start(), RestartBackoff(self._policy), service, await_addresses)
        self.processes.append(process)
        return process

    def poll(self, progress: int) -> None:
        """Checks which processes have exited, and restarts those that were killed.

        Args:
            progress: steps of the run so far.
        Raises:
            ChildFailed: a service failed, or a process is in a crash loop.
        """
        for process in self.processes:
            if process.status is ExitStatus.RUNNING:
                process.status = exit_status(process.child.exit_code(), process.is_service)
                self._handle_status(process, progress)
            if process.restart_at is not None and self._clock() >= process.restart_at:
                self._restart(process)

    def _handle_status(self, process: Process, progress: int) -> None:
        if process.status is ExitStatus.FAILED:
            if process.is_service:
                raise process.child.failure()
            others = [other for other in self.processes if not other.is_service and other is not process]
            # When all workers have failed, the owner of the supervisor raises the error.
            if any(other.status is not ExitStatus.FAILED for other in others):
                self._on_event(
                    str(process.child.failure())
                    + ("\nThe other workers continue." if any(other.alive for other in others) else "")
                )
        elif process.status is ExitStatus.KILLED:
            process.killed_at = self._clock()
            delay = process.backoff.after_death(process.killed_at, progress)
            if delay is None:
                raise ChildFailed(
                    f"{process.name} was {self._how(process)}; crash loop: {process.backoff.deaths - 1} restarts"
                    f" without progress at step {progress}. Possible causes are too little memory or a bug in the"
                    f" script. The end of {process.child.log}:\n{process.child.log_tail()}"
                )
            process.restart_at = process.killed_at + delay
            self._on_event(
                f"{process.name} was {self._how(process)}; "
                + (f"starting it again in {delay:.1f} s" if delay else "started again")
            )

    @staticmethod
    def _how(process: Process) -> str:
        number = -(process.child.exit_code() or 0)
        return f"killed (signal {number})"

    def _restart(self, process: Process) -> None:
        now = self._clock()
        if process.addresses is not None and (address := address_in_use(process.addresses)) is not None:
            if now - process.killed_at > _ADDRESS_WAIT_SECONDS:
                raise ChildFailed(
                    f"{process.name} was killed and cannot be started again: another process has been using its address"
                    f" {address} for {_ADDRESS_WAIT_SECONDS:.0f} s; stop that process, and resume the run"
                )
            return
        process.child = process.start()
        process.restarts += 1
        process.restart_at, process.status = None, ExitStatus.RUNNING

    def wait(self, seconds: float) -> None:
        """Waits until a process exits that ran at the last `poll`, for at most this time."""
        running = [process.child.process for process in self.processes if process.status is ExitStatus.RUNNING]
        if any(process.returncode is not None for process in running):
            return
        # The exit of none of them has been collected, so their process IDs are still theirs.
        descriptors = [os.pidfd_open(process.pid) for process in running]
        try:
            exits = select.poll()
            for descriptor in descriptors:
                exits.register(descriptor, select.POLLIN)
            exits.poll(1000 * seconds)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def stop(self, processes: list[Process], timeout: float = 10.0) -> None:
        """Sends SIGTERM to all processes, waits for them, and kills those that run longer than `timeout` seconds."""
        for process in processes:
            process.restart_at = None
            process.child.signal(signal.SIGTERM)
        for process in processes:
            process.child.stop(timeout)
            if process.status is ExitStatus.RUNNING:
                process.status = ExitStatus.EXITED


def address_in_use(addresses: Addresses) -> str | None:
    """The first of these addresses that another process uses; None if both can be bound."""
    for address in (addresses.listen, addresses.http):
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            # As servers do: connections in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                return address
    return None
