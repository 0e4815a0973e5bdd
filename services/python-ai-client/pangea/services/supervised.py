"""Services under a supervisor: started on free ports, and again at the ports they had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pangea.rundir.layout import FREE_PORTS, Addresses, port_file
from pangea.services.child import Child
from pangea.services.supervisor import Process, Supervisor

READY_SECONDS = 60.0


def add_service(supervisor: Supervisor, run_dir: Path, name: str, make: Callable[[Addresses], Child]) -> Process:
    """Starts a service, waits until it is ready, and has it looked after.

    Args:
        supervisor: that looks after it.
        run_dir: where it writes its addresses.
        name: of the service, also of its files.
        make: starts it at these addresses.
    Raises:
        ChildFailed: with the end of its log.
    """
    known = FREE_PORTS

    def start() -> Child:
        return make(known)

    process = supervisor.add(name, start, lambda child: Addresses(**child.wait_ready(port_file(run_dir, name), READY_SECONDS)))
    assert process.addresses is not None
    known = process.addresses
    return process
