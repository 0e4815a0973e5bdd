"""The registry is what was reviewed: Bazel's lock file does not hash a registry of files, so this does."""

import os
from pathlib import Path

COMMAND = "(cd tools/registry && find bazel_registry.json modules stubs -type f | LC_ALL=C sort | xargs sha256sum > manifest.sha256)"


def read(file: Path) -> dict[str, str]:
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in file.read_text().splitlines())}


def test_every_file_has_the_hash_of_the_manifest() -> None:
    expected, actual = read(Path(__file__).with_name("manifest.sha256")), read(Path(os.environ["ACTUAL"]))
    assert actual, "the registry is empty"
    changed = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    assert not changed, (
        f"{', '.join(changed)} differ from the manifest; if that is meant, review them and run {COMMAND}"
    )
