"""The job: what is launched, as one value that every backend reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea.errors import PangeaError
from pangea.launch.environment import worker_environment
from pangea.launch.settings import Settings
from pangea.rundir.layout import ORCHESTRATOR, Addresses, data_service_name, port_file, run_dir_path
from pangea.services.programs import data_service_command, orchestrator_command


class CannotLaunch(PangeaError, ValueError):
    """The backend cannot run this job; the message says what to change."""


@dataclass(frozen=True)
class Job:
    """A run, and the command lines and environments of its processes.

    Attributes:
        settings: what is trained, and with how many workers and data replicas.
        run_id: the run's name.
        run_dir: the run directory, as the processes see it.
    """

    settings: Settings
    run_id: str
    run_dir: Path

    @classmethod
    def of(cls, settings: Settings) -> Job:
        """The job that these settings would start now. Creates no directory."""
        run_dir = run_dir_path(settings.run_dir, settings.seed)
        return cls(settings, run_dir.name, run_dir)

    @property
    def data_services(self) -> list[str]:
        """The names of the replicas of the data service."""
        return [data_service_name(number) for number in range(1, self.settings.data_replicas + 1)]

    @property
    def workers(self) -> list[str]:
        """The names of the workers."""
        return [f"worker-{number}" for number in range(1, self.settings.workers + 1)]

    def orchestrator(self, program: Sequence[str], addresses: Addresses) -> list[str]:
        """The command line of the orchestrator; `program` starts it."""
        return orchestrator_command(
            program,
            self.run_dir,
            self.run_id,
            self.settings.run_options,
            addresses,
            port_file(self.run_dir, ORCHESTRATOR),
        )

    def data_service(self, name: str, program: Sequence[str], addresses: Addresses, data: Path | None) -> list[str]:
        """The command line of one replica of the data service; `program` starts it, `data` as for the command."""
        return data_service_command(program, self.settings.dataset, addresses, port_file(self.run_dir, name), data)

    def worker(self, program: Sequence[str]) -> list[str]:
        """The command line of any worker; `program` starts the `pangea` command."""
        return [
            *program,
            "worker",
            str(self.settings.script),
            *(["--", *self.settings.arguments] if self.settings.arguments else []),
        ]

    def environment(self, worker: str, orchestrator: str, data: list[str]) -> dict[str, str]:
        """The environment variables of one worker; `orchestrator` and `data` are host:port."""
        return worker_environment(self.settings, self.run_dir, worker, orchestrator, data)
