"""`./bazelw doctor`: what this machine offers to the build."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

from .apt import mirror
from .errors import DoorError
from .provision import Provision
from .root import enter_command, probe_sandbox, write_rc


def _memory_gib() -> float:
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) / (1 << 20)


def _bazel(provision: Provision) -> str:
    command = enter_command(provision, ["/usr/bin/dpkg-deb", "--version"], write_rc(provision))
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "root filesystem cannot be entered"
    label = provision.root / "usr/share/bazel/build-label.txt"
    return label.read_text().strip() if label.exists() else "7.7.x of Debian forky"


def examine(provision: Provision) -> list[dict[str, object]]:
    """One finding each: name, value, and whether it is good enough (None: only for information)."""
    findings: list[dict[str, object]] = []

    def find(name: str, value: object, good: bool | None = None) -> None:
        findings.append({"name": name, "value": value, "ok": good})

    find(
        "machine",
        f"{platform.system()} {platform.machine()}, kernel {platform.release()}",
        (platform.system(), platform.machine()) == ("Linux", "x86_64"),
    )
    find("python3", platform.python_version(), sys.version_info >= (3, 9))
    for program in ("apt-get", "dpkg-deb", "git"):
        find(program, shutil.which(program) or "missing", shutil.which(program) is not None)
    try:
        mirror()
        find("Debian mirror", "configured", True)
    except DoorError as error:
        find("Debian mirror", str(error), False)
    find("user", "root" if os.geteuid() == 0 else "ordinary user")
    if provision.root.is_dir() and provision.modules.is_dir():
        bazel = _bazel(provision)
        find("Bazel", bazel, "cannot" not in bazel)
        problem = probe_sandbox(provision)
        find(
            "sandbox",
            "linux-sandbox, no network" if problem is None else f"linux-sandbox does not work: {problem}",
            problem is None,
        )
    else:
        find("Bazel", "not fetched yet; any other ./bazelw command fetches it")
    cores = len(os.sched_getaffinity(0))
    find("cores", cores, cores >= 2)
    find("memory available", f"{_memory_gib():.1f} GiB", _memory_gib() >= 4)
    provision.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(provision.cache).free / (1 << 30)
    find("disk free for the cache", f"{free:.0f} GiB", free >= 12)
    find("cache folder", str(provision.cache))
    return findings


def doctor(provision: Provision, as_json: bool) -> int:
    """Prints the findings; 1 if one of them stands in the way."""
    findings = examine(provision)
    if as_json:
        print(json.dumps(findings, indent=1))
    else:
        for finding in findings:
            mark = {True: "ok ", False: "BAD", None: "   "}[finding["ok"]]  # type: ignore[index]
            print(f"{mark} {finding['name']}: {finding['value']}")
    return 1 if any(finding["ok"] is False for finding in findings) else 0
