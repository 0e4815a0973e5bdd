"""Rewrites third_party/python/*.lock from the *.in files beside them; part of tools/update_locks.

pip resolves for the toolchain's own interpreter and platform, wheels only, and reports the hash of each wheel that it
would take. A lock is a plain requirements file with one hash a line, as `pip install --require-hashes` reads it.
"""

import json
import os
import pathlib
import subprocess
import sys

# Wheels that we take files from but never import, and those whose torch must be ours: what they depend on is not
# wanted.
WITHOUT_DEPENDENCIES = {"datasets", "frameworks"}


def resolve(wanted: pathlib.Path, pip: pathlib.Path) -> list[str]:
    """Lock lines for the requirements in `wanted`, sorted by name."""
    command = [
        os.environ.get("PANGEA_PYTHON", sys.executable),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--only-binary",
        ":all:",
        "--report",
        "-",
        "-r",
        str(wanted),
    ]
    if wanted.stem in WITHOUT_DEPENDENCIES:
        command.append("--no-deps")
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(pip)}
    )
    if result.returncode != 0:
        sys.exit(f"update_lock: pip cannot resolve {wanted.name}: {result.stderr.strip()}")
    lines = []
    for item in json.loads(result.stdout)["install"]:
        name, version = item["metadata"]["name"].lower(), item["metadata"]["version"]
        lines.append(f"{name}=={version} --hash=sha256:{item['download_info']['archive_info']['hashes']['sha256']}")
    return sorted(lines)


def update(folder: pathlib.Path) -> None:
    """Writes the *.lock files in `folder`, with the pip of the Debian lock."""
    pip = next(pathlib.Path(sys.prefix, "share", "python-wheels").glob("pip-*.whl"))
    for wanted in sorted(folder.glob("*.in")):
        lines = resolve(wanted, pip)
        header = f"# Made from {wanted.name} by ./bazelw run //:update_locks; do not edit.\n"
        wanted.with_suffix(".lock").write_text(header + "\n".join(lines) + "\n")
        print(f"{wanted.stem}: {len(lines)} wheels")
