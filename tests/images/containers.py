"""The containers of one test: started by the machine's own engine in a separate network, and always removed."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.processes.waiting import eventually

# Containers start torch slowly on a loaded machine; one that never becomes healthy is still found.
PATIENCE_SECONDS = 300.0
# The engine's defaults may exceed the limits that it runs under itself.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


@dataclass
class Containers:
    """Started containers and their network.

    Attributes:
        engine: podman or docker.
        project: prefix of all names.
    """

    engine: str
    project: str
    _started: list[str] = field(default_factory=list)

    def call(self, *words: str) -> str:
        """Runs a command of the engine; gives its output.

        Raises:
            AssertionError: it failed; the message has its error output.
        """
        result = subprocess.run([self.engine, *words], capture_output=True, text=True, check=False)
        assert result.returncode == 0, (
            f"`{self.engine} {' '.join(words)}` ended with {result.returncode}: {result.stderr.strip()}"
        )
        return result.stdout

    def __enter__(self) -> Self:
        self.call("network", "create", self.project)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._started:
            subprocess.run(
                [self.engine, "rm", "--force", "--time=0", name]
                if self.engine == "podman"
                else [self.engine, "rm", "--force", name],
                capture_output=True,
                check=False,
            )
        subprocess.run([self.engine, "network", "rm", self.project], capture_output=True, check=False)

    def start(self, service: str, image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """Starts a container, which others in the network find by the name of its service; gives its own name."""
        name = f"{self.project}-{service}"
        self._started.append(name)
        self.call(
            "run",
            "--detach",
            f"--name={name}",
            f"--network={self.project}",
            f"--network-alias={service}",
            *LIMITS,
            *HARDENED,
            *options,
            image,
            *arguments,
        )
        return name

    def inspect(self, name: str) -> dict[str, Any]:
        """The engine's description of a container or an image."""
        return dict(json.loads(self.call("inspect", name))[0])

    def until_healthy(self, name: str, *command: str) -> float:
        """Waits until the image's health command succeeds; gives the seconds that it took."""
        start = time.monotonic()

        def healthy() -> bool:
            assert self.inspect(name)["State"]["Status"] in ("created", "running"), (
                f"{name} ended before it was healthy: {self.logs(name)}"
            )
            return (
                subprocess.run([self.engine, "exec", name, *command], capture_output=True, check=False).returncode == 0
            )

        try:
            eventually(healthy, f"{name} is healthy", PATIENCE_SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.logs(name)}") from error
        return time.monotonic() - start

    def logs(self, name: str) -> str:
        """The last lines that a container has printed."""
        return subprocess.run(
            [self.engine, "logs", "--tail=20", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    def exit_code(self, name: str) -> int:
        """Waits until a container has ended; gives its exit code."""
        code = int(self.call("wait", name))
        if code != 0:
            print(f"{name} ended with {code}: {self.logs(name)}")
        return code


def load(deliver: Path, layout: Path, engine: str, reference: str) -> None:
    """Loads an image of the build into the engine, as its `_load` target does."""
    subprocess.run([deliver, "load", layout, f"--engine={engine}", f"--name={reference}"], check=True)
