"""The stack of infra/docker-compose.yaml, from images that the build creates."""

from __future__ import annotations

import functools
import pathlib
import shlex
import shutil
import sys

from tools.processes.ports import free_ports
from tools.setup.commands import Commands, StepFailed, tail
from tools.setup.stack import Deployed

IMAGES = ("go-orchestrator", "rust-compute", "python-ai-client")
_KILL = pathlib.Path(__file__).with_name("kill_container.py")
_PROJECT = "pangea-setup"
# As in infra/docker-compose.yaml: the level that every processor supports.
_ARITHMETIC = "avx2"
# Bazel's own messages are not logs of the stack.
_SILENT = ("--ui_event_filters=-info,-stdout,-stderr", "--noshow_progress")
CONTAINERS = ("python-worker-1", "go-orchestrator", "rust-compute")


class ContainerStack:
    """Containers on this machine."""

    parts = "container images"

    def __init__(self, commands: Commands, folder: pathlib.Path, epochs: int) -> None:
        self._commands, self._runs = commands, folder / "runs"
        self._deployed = False
        names = (
            "PANGEA_ORCHESTRATOR_PORT",
            "PANGEA_ORCHESTRATOR_HTTP_PORT",
            "PANGEA_DATA_PORT",
            "PANGEA_DATA_HTTP_PORT",
        )
        ports = free_ports(len(names))
        self._settings: dict[str, str] = {
            "PANGEA_RUNS": str(self._runs),
            "PANGEA_EPOCHS": str(epochs),
            "PANGEA_ARITHMETIC": _ARITHMETIC,
            "COMPOSE_PROJECT_NAME": _PROJECT,
            **{name: str(ports.pop()) for name in names},
        }

    @functools.cached_property
    def _engine(self) -> str:
        """podman or docker, as tools/compose chooses."""
        return (
            self._commands.run("engine", ["./bazelw", "run", "//tools/compose", "--", "engine"])
            .read_text()
            .splitlines()[-1]
        )

    def _compose(self, name: str, *words: str) -> pathlib.Path:
        return self._commands.run(name, ["./bazelw", "run", "//tools/compose", "--", *words], **self._settings)

    def validate(self) -> str:
        """Finds the container engine, and checks that no stack of an earlier call is left in it."""
        if names := self._containers():
            raise StepFailed(
                f"containers of an earlier call are still there ({', '.join(names)}); remove them: {self._down()}"
            )
        return f"containers by {self._engine}"

    def build(self) -> str:
        """Builds the images and loads them into the engine."""
        for image in IMAGES:
            self._commands.run(f"load-{image}", ["./bazelw", "run", f"//services/{image}:{image}_load"])
        return f"{len(IMAGES)} images"

    def deploy(self) -> Deployed:
        """Starts the containers. Those that need a service wait for its health check."""
        # The user of the containers does not exist on this machine.
        self._runs.mkdir(parents=True, exist_ok=True)
        self._runs.chmod(0o777)
        self._deployed = True
        self._compose("up", "up", "-d")
        return Deployed(
            self._runs / "run",
            f"127.0.0.1:{self._settings['PANGEA_ORCHESTRATOR_HTTP_PORT']}",
            f"127.0.0.1:{self._settings['PANGEA_DATA_HTTP_PORT']}",
            self._settings["PANGEA_ARITHMETIC"],
            [
                shlex.join([sys.executable, str(_KILL), self._engine, self._container(service)])
                for service in CONTAINERS
            ],
        )

    def _container(self, service: str) -> str:
        """The name of a service's container: `pangea-setup_SERVICE_1` or `pangea-setup-SERVICE-1`."""
        names = [name for name in self._containers() if service in name]
        if len(names) != 1:
            raise StepFailed(f"{len(names)} containers of the service {service}; wanted one")
        return names[0]

    def _containers(self) -> list[str]:
        """Names of all containers of the project, running or not."""
        log = self._commands.run(
            "names", [self._engine, "ps", "--all", "--format", "{{.Names}}", "--filter", f"name={_PROJECT}"]
        )
        return log.read_text().split()

    def _down(self) -> str:
        return f"COMPOSE_PROJECT_NAME={_PROJECT} ./bazelw run //tools/compose -- down -v"

    def logs(self) -> str:
        """The newest lines of every container."""
        words = ["./bazelw", "run", *_SILENT, "//tools/compose", "--", "logs", "--tail", "5"]
        return tail(self._commands.run("logs", words, **self._settings), 60)

    def remove(self) -> None:
        """Stops and deletes containers, network and files."""
        if self._deployed:
            self._compose("down", "down", "-v")
            self._deployed = False
        shutil.rmtree(self._runs, ignore_errors=True)
        if self._runs.exists() and self._engine == "podman":
            # The files belong to the user of the containers, who exists only in podman's user namespace.
            self._commands.run("remove", ["podman", "unshare", "rm", "-rf", str(self._runs)])
        if self._runs.exists():
            raise StepFailed(
                f"{self._runs} holds files of the containers' user, which only root may remove; remove it as root"
            )

    def how_to_remove(self) -> str:
        """A command for a shell, and where files are left."""
        return f"{self._down()}; its files are in {self._runs}" if self._deployed else "there is none"
