"""A private apt: the machine's own mirror, but none of its packages, sources or rights are touched."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import Sequence

from .errors import DoorError, run

# forky holds Bazel; trixie is what the toolchains are locked to, and the default for a package without a suite.
SUITES = ("trixie", "forky")
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def mirror() -> str:
    """Address of the Debian mirror that this machine is configured with."""
    found = _from_apt() or _from_files()
    candidates = [uri for uri in found if re.search(r"/debian/?$", uri)] or [
        uri for uri in found if "security" not in uri
    ]
    if not candidates:
        raise DoorError("this machine's apt names no Debian mirror in /etc/apt; Bazel comes from Debian's packages")
    return candidates[0]


def _from_apt() -> list[str]:
    try:
        result = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise DoorError(
            "there is no apt-get on this machine; ./bazelw needs apt-get and dpkg-deb, or PANGEA_BAZEL=/path/to/bazel"
        ) from None
    return sorted(set(result.stdout.split()))


def _from_files() -> list[str]:
    """Addresses in /etc/apt, for a machine whose index was never updated."""
    folder = pathlib.Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    found: list[str] = []
    for file in files:
        if file.is_file():
            active = [
                line for line in file.read_text(errors="replace").splitlines() if re.match(r"\s*(deb\s|URIs:)", line)
            ]
            found += re.findall(r"\b\w+(?:\+\w+)?://[^\s\]]+", "\n".join(active))
    return found


class Apt:
    """The private apt in `folder`; `folder/apt.conf` is all that the apt tools need (APT_CONFIG)."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.conf = folder / "apt.conf"

    def prepare(self) -> None:
        """Writes the configuration; cheap, and safe to repeat."""
        for name in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "var/lib/dpkg/status").touch()
        uri, signed = mirror(), f"[signed-by={KEYRING}]" if KEYRING.exists() else ""
        (self.folder / "etc/apt/sources.list").write_text(
            "".join(f"deb {signed} {uri} {suite} main\n" for suite in SUITES)
        )
        settings = {
            "Dir": str(self.folder),
            "Dir::State::status": str(self.folder / "var/lib/dpkg/status"),
            "Dir::Etc::sourceparts": "-",
            "APT::Architecture": "amd64",
            "APT::Default-Release": SUITES[0],
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Check-Valid-Until": "false",  # company mirrors are often late
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        self.conf.write_text(
            "".join(f'{key} "{value}";\n' for key, value in settings.items()) + 'APT::Architectures {"amd64";};\n'
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "APT_CONFIG": str(self.conf), "LC_ALL": "C"}

    def update(self) -> None:
        """Fetches the signed package indices."""
        run(["apt-get", "-q", "update"], "fetch Debian's package index", env=self.environment())

    def closure(self, packages: Sequence[str], suite: str) -> list[str]:
        """Names of all packages that an empty system of `suite` would need for `packages`."""
        simulated = run(
            ["apt-get", "-t", suite, "install", "-s", *packages],
            f"find the packages of {suite}",
            env=self.environment(),
        )
        return [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")]

    def download(self, packages: Sequence[str], suite: str, folder: pathlib.Path) -> list[pathlib.Path]:
        """Downloads the current versions of `packages` into `folder`; apt checks them against the signed index."""
        folder.mkdir(parents=True, exist_ok=True)
        run(
            ["apt-get", "-q", "download", *(f"{name}/{suite}" for name in packages)],
            "download packages",
            cwd=folder,
            env=self.environment(),
        )
        return sorted(folder.glob("*.deb"))


def unpack(debs: Sequence[pathlib.Path], root: pathlib.Path) -> None:
    """Unpacks packages; their maintainer scripts do not run."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        run(["dpkg-deb", "-x", str(deb), str(root)], f"unpack {deb.name}")


if sys.version_info < (3, 9):
    raise SystemExit("bazelw: python3 is older than 3.9")
