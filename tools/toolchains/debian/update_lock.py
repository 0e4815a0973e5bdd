"""Rewrites third_party/debian/debian.lock.json from packages.json; part of tools/update_locks.

For each group it asks apt for the closure of the root packages in the suite's current, signed index (into an empty system, without
recommendations), takes out the excluded names, and records version, sha256 and size of what is left.
"""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any


def apt(*arguments: str) -> str:
    """Runs an apt tool with the private configuration that `bazelw` made; returns what it printed."""
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"update_lock: {' '.join(arguments[:3])} failed: {result.stderr.strip()}")
    return result.stdout


def closure(roots: list[str], exclude: list[str]) -> list[str]:
    """Names of all packages that an empty system would need for `roots`, without `exclude`, sorted."""
    simulated = apt("apt-get", "install", "-s", *roots)
    names = {line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")}
    unused = sorted(set(exclude) - names)
    if unused:
        sys.exit(
            f"update_lock: packages.json excludes {', '.join(unused)}, which the closure of {', '.join(roots)} does not hold; remove them"
        )
    return sorted(names - set(exclude))


def describe(names: list[str]) -> dict[str, dict[str, Any]]:
    """Version, sha256 and size in bytes of the candidate of each package."""
    found: dict[str, dict[str, Any]] = {}
    for paragraph in apt("apt-cache", "show", "--no-all-versions", *names).strip().split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" ")
        )
        found[fields["Package"]] = {
            "version": fields["Version"],
            "architecture": fields["Architecture"],
            "sha256": fields["SHA256"],
            "size": int(fields["Size"]),
        }
    missing = sorted(set(names) - set(found))
    if missing:
        sys.exit(f"update_lock: the index describes no {', '.join(missing)}")
    return found


def update(folder: pathlib.Path) -> None:
    """Writes debian.lock.json in `folder` from packages.json beside it."""
    if "PANGEA_APT_DIR" not in os.environ:
        sys.exit(
            "update_lock: PANGEA_APT_DIR is not set; start it through ./bazelw, which makes a private apt configuration"
        )
    os.environ["APT_CONFIG"] = os.environ["PANGEA_APT_DIR"] + "/apt.conf"
    apt("apt-get", "-q", "update")
    wanted = json.loads((folder / "packages.json").read_text())
    groups = {name: closure(group["roots"], group["exclude"]) for name, group in wanted["groups"].items()}
    packages = describe(sorted({name for names in groups.values() for name in names}))
    lock = {"suite": wanted["suite"], "groups": groups, "packages": dict(sorted(packages.items()))}
    (folder / "debian.lock.json").write_text(json.dumps(lock, indent=1) + "\n")
    print(f"{len(packages)} packages, {sum(p['size'] for p in packages.values()) >> 20} MiB")
