"""Services under a supervisor: started on free ports, and restarted on the same ones. Each is ready only after
`Process.wait_ready`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pangea.rundir.layout import FREE_PORTS, ORCHESTRATOR, Addresses, port_file
from pangea.services.child import Child
from pangea.services.options import RunOptions
from pangea.services.programs import start_data_service, start_orchestrator
from pangea.services.supervisor import Process, Supervisor

_READY_SECONDS = 60.0


def add_data_service(supervisor: Supervisor, run_dir: Path, name: str, dataset: str) -> Process:
    """Starts the replica of the data service with this name under supervision."""
    return _add(supervisor, run_dir, name, lambda addresses: start_data_service(run_dir, name, dataset, addresses))


def add_orchestrator(supervisor: Supervisor, run_dir: Path, run_id: str, options: RunOptions) -> Process:
    """Starts the orchestrator under supervision."""
    return _add(
        supervisor,
        run_dir,
        ORCHESTRATOR,
        lambda addresses: start_orchestrator(run_dir, run_id, options, addresses),
    )


def _add(supervisor: Supervisor, run_dir: Path, name: str, start_at: Callable[[Addresses], Child]) -> Process:
    process: Process | None = None

    def start() -> Child:
        return start_at(FREE_PORTS if process is None or process.addresses is None else process.addresses)

    process = supervisor.add(
        name, start, lambda child: Addresses(**child.wait_ready(port_file(run_dir, name), _READY_SECONDS))
    )
    return process
