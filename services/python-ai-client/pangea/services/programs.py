"""The command lines of the services, and how they are started as children."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pangea.places import data_folder, program
from pangea.rundir.layout import DATA_SERVICE, FREE_PORTS, ORCHESTRATOR, Addresses, port_file, socket_file
from pangea.services.child import Child
from pangea.services.options import RunOptions

# The variable that names the folder with a process's certificate.
IDENTITY = "PANGEA_IDENTITY"


def data_service_command(
    program: Sequence[str], dataset: str, addresses: Addresses, ports: Path, data: Path | None
) -> list[str]:
    """The command line of a replica of rust-compute, which writes its addresses to the file `ports`.

    `dataset` is a dataset spec; `data` is the folder of the datasets that ship with the package, None if `program`
    knows it.
    """
    folder = [] if data is None else ["--data-dir", str(data)]
    return [*program, "--dataset", dataset, *folder, *_address_flags(addresses, ports)]


def orchestrator_command(
    program: Sequence[str], run_dir: Path, run_id: str, options: RunOptions, addresses: Addresses, ports: Path
) -> list[str]:
    """The command line of go-orchestrator, which starts a run or resumes the one that is in the directory."""
    return [
        *program,
        "--run-dir",
        str(run_dir),
        "--run-id",
        run_id,
        *options.flags(),
        *_address_flags(addresses, ports),
    ]


def _address_flags(addresses: Addresses, ports: Path) -> list[str]:
    socket = ["--socket", addresses.socket] if addresses.socket else []
    return ["--listen", addresses.listen, "--http", addresses.http, *socket, "--port-file", str(ports)]


def start_data_service(
    run_dir: Path,
    name: str,
    dataset: str,
    addresses: Addresses = FREE_PORTS,
    environment: dict[str, str] | None = None,
) -> Child:
    """Starts a replica of rust-compute, which serves the dataset of the spec `dataset`, also over a Unix socket.

    `environment` is added to this process's.
    """
    addresses = replace(addresses, socket=addresses.socket or socket_file(run_dir, name))
    command = data_service_command(
        [str(program(DATA_SERVICE))], dataset, addresses, port_file(run_dir, name), data_folder()
    )
    return _start(run_dir, name, command, environment)


def start_orchestrator(
    run_dir: Path,
    run_id: str,
    options: RunOptions,
    addresses: Addresses = FREE_PORTS,
    environment: dict[str, str] | None = None,
) -> Child:
    """Starts go-orchestrator, which starts a run or resumes the one that is in the directory, also with a Unix socket.

    `environment` is added to this process's.
    """
    addresses = replace(addresses, socket=addresses.socket or socket_file(run_dir, ORCHESTRATOR))
    command = orchestrator_command(
        [str(program(ORCHESTRATOR))], run_dir, run_id, options, addresses, port_file(run_dir, ORCHESTRATOR)
    )
    return _start(run_dir, ORCHESTRATOR, command, environment)


def _start(run_dir: Path, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
    # The file of an earlier process would be mistaken for this one's.
    port_file(run_dir, name).unlink(missing_ok=True)
    # A worker that starts its own services has an identity of role worker, if any, which is not theirs.
    inherited = {variable: value for variable, value in os.environ.items() if variable != IDENTITY}
    return Child(name, command, run_dir / "logs" / f"{name}.log", {**inherited, **(environment or {})})
