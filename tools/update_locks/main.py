"""`./bazelw run //:update_locks`: takes the current versions of everything in third_party and writes its locks.

Debian packages by apt, wheels by pip, crates by cargo; the package clients find their registries as this machine is configured. Review the difference and run all
tests before it is committed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tools.toolchains.debian import update_lock as debian
from tools.toolchains.python import update_lock as python


def update_rust(cargo: Path, manifest: Path) -> None:
    """Newest crates that the manifest and its Rust version allow."""
    environment = {**os.environ, "CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS": "fallback"}
    result = subprocess.run(
        [str(cargo), "update", "--quiet", "--manifest-path", str(manifest)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        sys.exit(f"update_locks: cargo cannot update {manifest}: {result.stderr.strip()}")
    print(f"{manifest.with_name('Cargo.lock').read_text().count('[[package]]') - 1} crates")


def main() -> None:
    """Updates the locks that were asked for; all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cargo", type=Path, required=True)
    parser.add_argument("--only", choices=["debian", "python", "rust"], action="append")
    arguments = parser.parse_args()
    wanted = arguments.only or ["debian", "python", "rust"]
    folder = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not folder:
        sys.exit("update_locks: start it with ./bazelw run //:update_locks, so that it knows the workspace")
    third_party = Path(folder) / "third_party"
    if "debian" in wanted:
        debian.update(third_party / "debian")
    if "python" in wanted:
        python.update(third_party / "python")
    if "rust" in wanted:
        update_rust(arguments.cargo.resolve(), third_party / "rust" / "Cargo.toml")


if __name__ == "__main__":
    main()
