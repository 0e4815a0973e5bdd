"""The commands of the services, and how they are started as children."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from pangea.children import Child
from pangea.places import data_folder, program

ORCHESTRATOR = "go-orchestrator"
DATA_SERVICE = "rust-compute"
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Addresses:
    """Where a service listens, host:port: for workers, and for people and probes."""

    listen: str = _ANY_PORT
    http: str = _ANY_PORT


FREE_PORTS = Addresses()


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the orchestrator has to know of a run: the one place of these defaults, for commands, scripts and the orchestrator itself.

    Attributes:
        epochs: passes over the data; a resumed run may get more.
        batch_size, shards, seed, min_shard_samples, drop_last: fixed for the run. `min_shard_samples`: a step with fewer samples for each shard is cut into fewer
            shards. `drop_last`: an epoch ends with its last whole step.
        checkpoint_steps, checkpoint_seconds: between two checkpoints; 0 for none by that measure.
        keep_checkpoints: newest ones that are kept.
        verify_fraction: share of the shards that two workers compute.
        straggler_k: a shard is late after median + k * MAD of the others.
        strict: different bits that nobody can settle end the run, and operations without a deterministic form are refused.
        take_changes: a resumed run takes another optimizer, learning rate or script; for this start only.
    """

    epochs: int = 10
    batch_size: int = 64
    shards: int = 8
    seed: int = 0
    min_shard_samples: int = 2
    drop_last: bool = False
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 30.0
    keep_checkpoints: int = 3
    verify_fraction: float = 0.0
    straggler_k: float = 5.0
    strict: bool = True
    take_changes: bool = False

    def flags(self) -> list[str]:
        """Of go-orchestrator. A switch or a bound that is as the orchestrator has it by itself is left out; a test holds both defaults together."""
        fields = [(field, getattr(self, field.name)) for field in dataclasses.fields(RunOptions)]
        return [f"--{field.name.replace('_', '-')}={_flag(value)}" for field, value in fields if field.name not in _SWITCHES or value != field.default]


_SWITCHES = ("min_shard_samples", "drop_last", "strict", "take_changes")


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def data_service_name(number: int) -> str:
    """Of the replica with that number, from 1."""
    return DATA_SERVICE if number == 1 else f"{DATA_SERVICE}-{number}"


def port_file(run_dir: Path, name: str) -> Path:
    """Where a service of this run writes its addresses."""
    return run_dir / "logs" / f"{name}.ports.json"


def data_service_command(program: str, dataset: str, addresses: Addresses, ports: Path) -> list[str]:
    """A replica of rust-compute that serves the dataset of a spec and writes its addresses to the file `ports`."""
    return [program, "--dataset", dataset, "--data-dir", str(data_folder()), *_places(addresses, ports)]


def orchestrator_command(program: str, run_dir: Path, run_id: str, options: RunOptions, addresses: Addresses, ports: Path) -> list[str]:
    """go-orchestrator for one run; it goes on with the run that is in the directory."""
    return [program, "--run-dir", str(run_dir), "--run-id", run_id, *options.flags(), *_places(addresses, ports)]


def _places(addresses: Addresses, ports: Path) -> list[str]:
    return ["--listen", addresses.listen, "--http", addresses.http, "--port-file", str(ports)]


def start_data_service(run_dir: Path, name: str, dataset: str, addresses: Addresses = FREE_PORTS) -> Child:
    """A replica of rust-compute that serves the dataset of a spec."""
    return _start(run_dir, name, data_service_command(str(program(DATA_SERVICE)), dataset, addresses, port_file(run_dir, name)))


def start_orchestrator(run_dir: Path, run_id: str, options: RunOptions, addresses: Addresses = FREE_PORTS, environment: dict[str, str] | None = None) -> Child:
    """go-orchestrator for one run; it goes on with the run that is in the directory. `environment` is added to this process's."""
    command = orchestrator_command(str(program(ORCHESTRATOR)), run_dir, run_id, options, addresses, port_file(run_dir, ORCHESTRATOR))
    return _start(run_dir, ORCHESTRATOR, command, environment)


def _start(run_dir: Path, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
    # That of an earlier process would be taken for this one's.
    port_file(run_dir, name).unlink(missing_ok=True)
    return Child(name, command, run_dir / "logs" / f"{name}.log", {**os.environ, **(environment or {})})
