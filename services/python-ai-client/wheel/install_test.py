"""Installed by pip without a network into an empty folder, the wheel trains; nothing of the build is in reach."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pangea.release import RELEASE

WHEEL = Path(os.environ["WHEEL"]).resolve()


class Installation:
    """An environment with the wheel: what its commands print and leave behind.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, prefix = folder, folder / "prefix"
        # What the wheel requires is there: the locked packages, in folders of their own, and what the interpreter has.
        locked = [os.path.realpath(path) for path in sys.path if path.endswith("/site-packages")]
        assert locked and not [path for path in locked if Path(path, "pangea").exists()]
        self._installing = {**self._bare(), "PYTHONPATH": os.pathsep.join(locked)}
        subprocess.run(
            # Debian's torch requires setuptools, which is not locked; the ranges have a test of their own.
            [
                *(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-cache-dir"),
                *("--prefix", str(prefix), str(WHEEL)),
            ],
            env=self._installing,
            check=True,
            cwd=folder,
        )
        (self.command,) = prefix.glob("**/bin/pangea")
        (package,) = prefix.glob("**/pangea/__init__.py")
        self.package = package.parent
        self.environment = {
            **self._bare(),
            "PYTHONPATH": os.pathsep.join([str(self.package.parent), *locked]),
            # Nothing is ever written to the environment, which may belong to somebody else.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _bare(self) -> dict[str, str]:
        """Without a home, and without what Bazel sets; PANGEA_PYTHON is how the locked interpreter names itself."""
        return {name: value for name, value in os.environ.items() if name in ("PATH", "PANGEA_PYTHON", "TMPDIR")}

    def run(self, *arguments: str) -> str:
        """Returns what `pangea` prints with these arguments."""
        result = subprocess.run(
            [str(self.command), *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("installed"))
    files = [path for path in installation.package.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    yield installation
    assert {path: path.stat().st_mtime_ns for path in installation.package.rglob("*") if path.is_file()} == before


def test_the_command_is_that_of_this_release(installed: Installation) -> None:
    assert installed.run("--version") == f"pangea {RELEASE}\n"


def test_the_locked_packages_are_in_the_ranges_of_the_metadata(installed: Installation) -> None:
    (distribution,) = importlib.metadata.distributions(path=[str(installed.package.parent)])
    required = [requirement for text in distribution.requires or [] if not (requirement := Requirement(text)).marker]
    versions = {requirement: importlib.metadata.version(requirement.name) for requirement in required}
    assert len(required) > 5
    assert not [
        (str(requirement), version)
        for requirement, version in versions.items()
        if not requirement.specifier.contains(version, prereleases=True)
    ]


def test_doctor_finds_all_parts_in_the_installed_package(installed: Installation) -> None:
    findings = {finding["name"]: finding for finding in json.loads(installed.run("doctor", "--json"))}
    assert not [name for name, finding in findings.items() if finding["ok"] is False]
    for part in ("native module", "go-orchestrator", "rust-compute", "digits data"):
        assert findings[part]["value"].startswith(f"{installed.package}/"), part


def test_one_and_two_workers_train_to_the_same_bits(installed: Installation) -> None:
    for workers in ("1", "2"):
        installed.run("train", "--workers", workers, "--epochs", "1", "--run-dir", f"runs/{workers}")
    one, two = ((installed.folder / "runs" / workers / "final.safetensors").read_bytes() for workers in ("1", "2"))
    assert one == two
    installed.run("audit", "runs/2")


def test_a_script_joins_without_a_launcher(installed: Installation) -> None:
    text = (installed.package / "examples" / "digits.py").read_text()
    script = installed.folder / "digits.py"
    script.write_text(text.replace("pangea.join(model, optimizer)", "pangea.join(model, optimizer, epochs=1)"))
    result = subprocess.run(
        [sys.executable, str(script)],
        env=installed.environment,
        cwd=installed.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert list((installed.folder / "pangea-runs").glob("*/final.safetensors"))


def test_the_services_start_by_the_command(installed: Installation) -> None:
    for program in ("go-orchestrator", "rust-compute"):
        assert "-listen" in installed.run("program", program, "--help")
    assert "digits" in installed.run("program", "rust-compute", "describe", "digits")
