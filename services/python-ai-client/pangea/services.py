"""The commands of the services, and how they are started as children."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pangea import datasets
from pangea.children import Child
from pangea.places import program

ORCHESTRATOR = "go-orchestrator"
DATA_SERVICE = "rust-compute"
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Addresses:
    """Where a service listens, host:port: for workers, and for people and probes."""

    listen: str = _ANY_PORT
    http: str = _ANY_PORT


FREE_PORTS = Addresses()


@dataclass(frozen=True)
class RunOptions:
    """What the orchestrator is to know of a run. The first four fix its arithmetic; the rest may change with every start."""

    epochs: int
    batch_size: int
    shards: int
    seed: int
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 0.0
    keep_checkpoints: int = 3
    verify_fraction: float = 0.0
    straggler_k: float = 5.0

    def arguments(self) -> list[str]:
        """Flags of go-orchestrator."""
        return [text for name, value in vars(self).items() for text in ("--" + name.replace("_", "-"), str(value))]


def data_service_name(number: int) -> str:
    """Of the replica with that number, from 1."""
    return DATA_SERVICE if number == 1 else f"{DATA_SERVICE}-{number}"


def port_file(run_dir: Path, name: str) -> Path:
    """Where a service of this run writes its addresses."""
    return run_dir / "logs" / f"{name}.ports.json"


def data_service_command(program: str, dataset: str, addresses: Addresses, ports: Path) -> list[str]:
    """A replica of rust-compute over a dataset, which writes its addresses to the file `ports`."""
    return [program, *datasets.parse(dataset).arguments(), *_places(addresses, ports)]


def orchestrator_command(program: str, run_dir: Path, run_id: str, options: RunOptions, addresses: Addresses, ports: Path) -> list[str]:
    """go-orchestrator for one run; it goes on with the run that is in the directory."""
    return [program, "--run-dir", str(run_dir), "--run-id", run_id, *options.arguments(), *_places(addresses, ports)]


def _places(addresses: Addresses, ports: Path) -> list[str]:
    return ["--listen", addresses.listen, "--http", addresses.http, "--port-file", str(ports)]


def start_data_service(run_dir: Path, name: str, dataset: str, addresses: Addresses = FREE_PORTS) -> Child:
    """A replica of rust-compute over a dataset."""
    return _start(run_dir, name, data_service_command(str(program(DATA_SERVICE)), dataset, addresses, port_file(run_dir, name)))


def start_orchestrator(run_dir: Path, run_id: str, options: RunOptions, addresses: Addresses = FREE_PORTS, environment: dict[str, str] | None = None) -> Child:
    """go-orchestrator for one run; it goes on with the run that is in the directory. `environment` is added to this process's."""
    command = orchestrator_command(str(program(ORCHESTRATOR)), run_dir, run_id, options, addresses, port_file(run_dir, ORCHESTRATOR))
    return _start(run_dir, ORCHESTRATOR, command, environment)


def _start(run_dir: Path, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
    # That of an earlier process would be taken for this one's.
    port_file(run_dir, name).unlink(missing_ok=True)
    return Child(name, command, run_dir / "logs" / f"{name}.log", {**os.environ, **(environment or {})})
