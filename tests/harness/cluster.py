"""Services and workers for a test, as real processes on free loopback ports."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pangea.children import Child
from pangea.embedded import EmbeddedServices
from pangea.places import python_command, python_environment
from pangea.services import RunOptions
from tools.processes.waiting import eventually

SCRIPT = Path(__file__).with_name("gated_training.py")


def http_get(address: str, path: str) -> tuple[int, str]:
    """Status and body; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Services(Protocol):
    """Where a run is, and how to reach its services, host:port."""

    run_dir: Path
    orchestrator: str
    data: str
    status: str


class Cluster:
    """One run: services, and workers as the test starts them."""

    def __init__(self, services: Services, gates: Path) -> None:
        self.services, self.run_dir, self._gates = services, services.run_dir, gates
        self.workers: dict[str, Child] = {}

    def start_worker(self, name: str, gate_step: int = -1, script: Path = SCRIPT, **environment: str) -> Child:
        """Starts a worker; with `gate_step` it stops there until `open_gate`."""
        variables = {
            **python_environment(),
            "PANGEA_ORCHESTRATOR": self.services.orchestrator,
            "PANGEA_DATA": self.services.data,
            "PANGEA_RUN_DIR": str(self.run_dir),
            "PANGEA_WORKER_NAME": name,
            "PANGEA_SEED": "5",
            "GATE_STEP": str(gate_step),
            "GATE_DIR": str(self._gates),
            **environment,
        }
        child = Child(name, python_command(script), self.run_dir / "logs" / f"{name}.log", variables)
        self.workers[name] = child
        return child

    def wait_gate(self, name: str) -> None:
        """Until the worker has reached its gate."""

        def reached() -> bool:
            if self.workers[name].exit_code() is not None:
                raise self.workers[name].failure()
            return (self._gates / f"{name}.reached").exists()

        eventually(reached, f"{name} reaches its gate")

    def open_gate(self, name: str) -> None:
        """Lets the worker go on."""
        (self._gates / f"{name}.open").touch()

    def status(self) -> dict[str, Any]:
        """The orchestrator's /status."""
        code, body = http_get(self.services.status, "/status")
        assert code == 200, body
        return dict(json.loads(body))

    def wait_workers(self, count: int) -> None:
        """Until so many workers are part of the run."""
        eventually(lambda: len(self.status()["workers"]) == count, f"{count} workers joined")

    def wait_exit(self, name: str, code: int = 0) -> None:
        """Until the worker has ended, with this exit code."""
        child = self.workers[name]
        ended = eventually(lambda: (child.exit_code(),) if child.exit_code() is not None else None, f"{name} ends")
        assert ended[0] == code, f"{name} ended with {ended[0]}:\n{child.log_tail(30)}"

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]

    def hashes(self) -> list[str]:
        """params_hash after each step."""
        lines = self.metrics()
        assert [line["step"] for line in lines] == list(range(len(lines))), "a gap in the steps"
        return [line["params_hash"] for line in lines]

    def final(self) -> bytes:
        """The bytes of the trained weights."""
        return (self.run_dir / "final.safetensors").read_bytes()


@contextmanager
def cluster(folder: Path, *, epochs: int = 1, batch_size: int = 256, shards: int = 8) -> Iterator[Cluster]:
    """Starts the services; at the end stops everything that is still there."""
    gates = folder / "gates"
    gates.mkdir(parents=True)
    services = EmbeddedServices.start(RunOptions(epochs=epochs, batch_size=batch_size, shards=shards, seed=5), run_dir=folder / "run")
    started = Cluster(services, gates)
    try:
        yield started
    finally:
        for worker in started.workers.values():
            worker.process.kill()
            worker.process.wait()
        services.stop()


def undisturbed(folder: Path, workers: int = 1, **settings: int) -> Cluster:
    """A run that nothing happens to, to its end."""
    with cluster(folder, **settings) as run:
        for number in range(1, workers + 1):
            run.start_worker(f"worker-{number}", gate_step=0)
        for name in run.workers:
            run.wait_gate(name) if workers == 1 else None
        if workers > 1:
            run.wait_workers(workers)
        for name in run.workers:
            run.open_gate(name)
        for name in run.workers:
            run.wait_exit(name)
    return run
