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


def find_engine(wanted: str = "") -> str:
    """The wanted engine, or the first that answers: podman, then docker. tools/images hands images to engines in the same order, so that both mean the same one.

    Raises:
        NoEngine: it does not answer.
    """
    if wanted in ("", "podman") and _answers("podman", "info"):
        return "podman"
    if wanted in ("", "docker") and _answers("docker", "info"):
        return "docker"
    if wanted:
        raise NoEngine(f"PANGEA_ENGINE names {wanted}, and `{wanted} info` does not answer; start it, or name podman or docker")
    raise NoEngine("no container engine of this machine answers, neither `podman info` nor `docker info`; on Debian: apt-get install podman runc")


def check_compose(engine: str) -> None:
    """Looks whether the engine can run a stack. podman can: podman-compose is in our locks.

    Raises:
        NoEngine: docker has no compose plugin.
    """
    if engine == "docker" and not _answers("docker", "compose", "version"):
        raise NoEngine("docker of this machine has no compose plugin: `docker compose version` fails; install the plugin, or podman and runc")
