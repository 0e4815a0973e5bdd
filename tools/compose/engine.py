"""Finds the container engine of this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class NoEngine(RuntimeError):
    """No container engine of this machine can be used; the message says what was looked for."""


def _answers(*command: str) -> bool:
    """Whether a command exists and works. If only the docker client is installed, it answers with an error."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def find_engine(wanted: str = "") -> str:
    """The wanted engine, or the first that answers: podman, then docker. tools/images tries the engines in the same order, so that both choose the same one.

    Raises:
        NoEngine: it does not answer.
    """
    if wanted in ("", "podman") and _answers("podman", "info"):
        return "podman"
    if wanted in ("", "docker") and _answers("docker", "info"):
        return "docker"
    if wanted:
        raise NoEngine(
            f"PANGEA_ENGINE names {wanted}, and `{wanted} info` does not answer; start it, or name podman or docker"
        )
    raise NoEngine(
        "no container engine of this machine answers, neither `podman info` nor `docker info`; on Debian: apt-get install podman runc"
    )


# Where podman looks for its helpers, and which helper resolves the names of containers, by network backend: file and package.
_HELPERS = {
    "netavark": (
        "aardvark-dns",
        "aardvark-dns",
        ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"),
    ),
    "cni": (
        "dnsname",
        "golang-github-containernetworking-plugin-dnsname",
        ("/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", "/opt/cni/bin"),
    ),
}


def _asked(*command: str) -> str:
    """What a command prints; empty if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def check_names(engine: str, root: Path = Path("/")) -> None:
    """Checks that containers find each other by name. Docker always can; podman needs a helper from a separate package.

    Args:
        engine: that is asked.
        root: below which podman's folders are.
    Raises:
        NoEngine: they cannot: workers would restart repeatedly, and never reach a service.
    """
    if engine != "podman":
        return
    # Newer releases report where they have found it.
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
    """Checks that the engine can run a stack. podman-compose is in our locks.

    Raises:
        NoEngine: docker has no compose plugin, or podman cannot resolve the names of containers.
    """
    check_names(engine)
    if engine == "docker" and not _answers("docker", "compose", "version"):
        raise NoEngine(
            "docker of this machine has no compose plugin: `docker compose version` fails; install the plugin, or podman and runc"
        )
