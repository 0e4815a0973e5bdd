"""Services under a supervisor: started on free ports, and restarted on the same ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pangea.rundir.layout import FREE_PORTS, Addresses, port_file
from pangea.services.child import Child
from pangea.services.supervisor import Process, Supervisor

READY_SECONDS = 60.0


def add_service(supervisor: Supervisor, run_dir: Path, name: str, start_at: Callable[[Addresses], Child]) -> Process:
    """Starts a service under supervision and waits until it is ready.

    Args:
        supervisor: of the service from now on.
        run_dir: the run directory, where the service writes its addresses.
        name: of the service, and of its files.
        start_at: starts the service at the given addresses.
    Raises:
        ChildFailed: it failed; the message includes the end of its log.
    """
    known = FREE_PORTS

    def start() -> Child:
        return start_at(known)

    process = supervisor.add(
        name, start, lambda child: Addresses(**child.wait_ready(port_file(run_dir, name), READY_SECONDS))
    )
    assert process.addresses is not None
    known = process.addresses
    return process
