"""Which container engine this machine has."""

from __future__ import annotations

import shutil
import subprocess


class NoEngine(RuntimeError):
    """No container engine of this machine can be used; the message says what was looked for."""


def _answers(*command: str) -> bool:
    """Whether a command is there and works. Where only docker's client is installed, it answers with an error."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def find_engine() -> str:
    """`docker` if it has a running engine and its compose plugin, else `podman`.

    Raises:
        NoEngine: there is neither.
    """
    if _answers("docker", "info") and _answers("docker", "compose", "version"):
        return "docker"
    if _answers("podman", "info"):
        return "podman"
    raise NoEngine(
        "this machine has no container engine that works: neither `docker info` with `docker compose version`, nor `podman info`; on Debian: apt-get install podman runc"
    )
