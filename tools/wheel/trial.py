"""A trial of the wheel in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from email import message_from_bytes
from pathlib import Path

_PACKAGE = Path("services/python-ai-client/pangea")
_ROOMS = ("training", "training/devices", "worker")
# Not the environment of this process, which has the locked interpreter's variables.
_KEPT = re.compile(r"PATH|HOME|LANG|TMPDIR|(PIP|SSL|REQUESTS|HTTPS?|https?|NO|no)_.*")


class Failed(Exception):
    """A step of the trial failed; the message has its output."""


def interpreter(python: str) -> str:
    """Returns the command for an interpreter: `3.13` is python3.13, everything else is a name or a path."""
    return f"python{python}" if re.fullmatch(r"\d+\.\d+", python) else python


def torch_requirement(version: str) -> str:
    """Returns the requirement for a version of torch; `2.15` is the newest 2.15.N."""
    return f"torch=={version}" if version.count(".") >= 2 else f"torch=={version}.*"


def lowest_requirements(requirements: list[str]) -> list[str]:
    """Returns, for what a distribution requires, the lowest versions; torch and extras are left out."""
    wanted = [re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements]
    return [f"{found[1]}=={found[2]}" for found in wanted if found is not None and found[1] != "torch"]


class Trial:
    """An environment with the wheel.

    Args:
        workspace: the runfiles of the main repository, with the wheel and the tests.
        folder: for the environment and what is trained; made if it does not exist.
    """

    def __init__(self, workspace: Path, folder: Path) -> None:
        self._workspace, self._folder = workspace, folder
        self._python = folder / "environment" / "bin" / "python"
        self._environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}

    def _run(self, *command: str | Path, environment: dict[str, str] | None = None) -> str:
        words = [str(word) for word in command]
        try:
            result = subprocess.run(
                words,
                env={**self._environment, **(environment or {})},
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        except OSError as error:
            raise Failed(f"{words[0]}: {error.strerror}") from error
        if result.returncode != 0:
            raise Failed(f"{' '.join(words)} exited with {result.returncode}:\n{result.stdout}")
        return result.stdout

    def _wheel(self) -> Path:
        (wheel,) = (self._workspace / _PACKAGE.parent).glob("pangea-*.whl")
        return wheel.resolve()

    def _requirements(self) -> list[str]:
        with zipfile.ZipFile(self._wheel()) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])

    def install(self, python: str, torch: str, *, lowest: bool) -> None:
        """Makes the environment.

        Raises:
            Failed: there is no such interpreter, or pip finds no set of packages.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run(interpreter(python), "-m", "venv", self._folder / "environment")
        self._run(
            self._python,
            *("-m", "pip", "install", "--quiet", torch_requirement(torch)),
            *(lowest_requirements(self._requirements()) if lowest else []),
            # What the tests import.
            *(self._wheel(), "pytest", "hypothesis"),
        )

    def describe(self) -> str:
        """Returns the interpreter and what `pangea doctor` says."""
        return self._run(self._python, "--version") + self._run(self._python, "-m", "pangea", "doctor")

    def train(self) -> str:
        """Trains the digits with one and with two workers; returns the hash of the parameters.

        Raises:
            Failed: the bits differ.
        """
        weights = []
        for workers in ("1", "2"):
            run_dir = self._folder / "runs" / workers
            self._run(
                *(self._python, "-m", "pangea", "train", "--workers", workers, "--epochs", "2", "--run-dir", run_dir)
            )
            weights.append((run_dir / "final.safetensors").read_bytes())
            text = (run_dir / "run.json").read_text()
        if weights[0] != weights[1]:
            raise Failed("1 and 2 workers trained to different bits")
        found = re.search(r'"params_hash": "(\w+)"', text)
        return f"same bits, {found[1] if found else 'no hash'}"

    def unit_tests(self) -> str:
        """Runs the unit tests that need torch; returns pytest's last line.

        Raises:
            Failed: one of them failed.
        """
        (package,) = self._folder.glob("environment/lib/python*/site-packages/pangea")
        for room in _ROOMS:
            # Beside the code, as in the workspace: some import modules that the wheel does not have.
            for file in (self._workspace / _PACKAGE / room).glob("*.py"):
                if not (package / room / file.name).exists():
                    shutil.copy(file, package / room)
        runner = self._workspace / "tools/python/pytest_main.py"
        golden = self._workspace / "libraries/order/testdata/tree.json"
        files = [file for room in _ROOMS for file in sorted((package / room).glob("*_test.py"))]
        return self._run(
            *(self._python, "-P", runner, "-q"),
            *files,
            environment={"TREE": str(golden), "PYTHONDONTWRITEBYTECODE": "1"},
        ).splitlines()[-1]
