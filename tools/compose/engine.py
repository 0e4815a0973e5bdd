"""Which container engine this machine has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


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


# Where podman looks for its helpers, and what gives names to containers, by the backend of its networks: file and package.
_HELPERS = {
    "netavark": ("aardvark-dns", "aardvark-dns", ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")),
    "cni": ("dnsname", "golang-github-containernetworking-plugin-dnsname", ("/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", "/opt/cni/bin")),
}


def _asked(*command: str) -> str:
    """What a command prints; empty if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def check_names(engine: str, root: Path = Path("/")) -> None:
    """Looks whether containers find each other by their names. Docker always can; podman needs a helper, which is a package of its own.

    Args:
        engine: that is asked.
        root: below which podman's folders are.
    Raises:
        NoEngine: they would not: workers would start again and again, and never reach a service.
    """
    if engine != "podman":
        return
    # Newer releases say where they have found it.
    if _asked("podman", "info", "--format", "{{.Host.NetworkBackendInfo.DNS.Path}}"):
        return
    backend = _asked("podman", "info", "--format", "{{.Host.NetworkBackend}}")
    if backend not in _HELPERS:
        return
    helper, package, folders = _HELPERS[backend]
    if shutil.which(helper) is None and not any((root / folder.lstrip("/") / helper).exists() for folder in folders):
        raise NoEngine(
            f"containers of podman would not find each other by name: its networks ({backend}) need {helper}, which is in none of {', '.join(folders)}; on Debian: apt-get install {package}"
        )


def check_compose(engine: str) -> None:
    """Looks whether the engine can run a stack. podman-compose is in our locks.

    Raises:
        NoEngine: docker has no compose plugin, or podman gives no names to containers.
    """
    check_names(engine)
    if engine == "docker" and not _answers("docker", "compose", "version"):
        raise NoEngine("docker of this machine has no compose plugin: `docker compose version` fails; install the plugin, or podman and runc")
