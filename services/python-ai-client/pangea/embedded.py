"""Orchestrator and data service as children of this process, on free ports of the loopback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pangea.children import Child
from pangea.places import data_file, new_run_dir, program

_READY_SECONDS = 60.0


@dataclass
class EmbeddedServices:
    """Both services, running.

    Attributes:
        orchestrator, data: where they listen, host:port.
        status: the orchestrator's HTTP address, host:port.
        run_dir: of the run.
    """

    orchestrator: str
    data: str
    status: str
    run_dir: Path
    orchestrator_child: Child
    data_child: Child

    @classmethod
    def start(cls, *, run_dir: str | os.PathLike[str] | None, epochs: int, batch_size: int, shards: int, seed: int) -> EmbeddedServices:
        """Starts both and waits until they are ready.

        Raises:
            ChildFailed: with the end of the log of the one that failed.
            FileExistsError: if the run directory holds a run.
        """
        directory = new_run_dir(run_dir, seed)
        data = start_data_service(directory)
        try:
            data_addresses = data.wait_ready(directory / "logs" / "rust-compute.ports.json", _READY_SECONDS)
            orchestrator = start_orchestrator(directory, epochs=epochs, batch_size=batch_size, shards=shards, seed=seed)
            try:
                addresses = orchestrator.wait_ready(directory / "logs" / "go-orchestrator.ports.json", _READY_SECONDS)
            except BaseException:
                orchestrator.stop()
                raise
        except BaseException:
            data.stop()
            raise
        return cls(addresses["listen"], data_addresses["listen"], addresses["http"], directory, orchestrator, data)

    def stop(self) -> None:
        """Stops both, the orchestrator first: it writes the last state of the run."""
        self.orchestrator_child.stop()
        self.data_child.stop()


def start_data_service(run_dir: Path) -> Child:
    """rust-compute over the digits, on free ports."""
    command = [str(program("rust-compute")), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dataset-name", "digits"]
    command += ["--csv", str(data_file("digits.csv.gz")), "--label-column", "last", "--feature-shape", "1,8,8", "--held-out", "0.2"]
    command += ["--port-file", str(run_dir / "logs" / "rust-compute.ports.json")]
    return Child("rust-compute", command, run_dir / "logs" / "rust-compute.log")


def start_orchestrator(run_dir: Path, *, epochs: int, batch_size: int, shards: int, seed: int) -> Child:
    """go-orchestrator for one run, on free ports."""
    command = [str(program("go-orchestrator")), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--run-dir", str(run_dir), "--run-id", run_dir.name]
    command += ["--seed", str(seed), "--shards", str(shards), "--batch-size", str(batch_size), "--epochs", str(epochs)]
    command += ["--port-file", str(run_dir / "logs" / "go-orchestrator.ports.json")]
    return Child("go-orchestrator", command, run_dir / "logs" / "go-orchestrator.log")
