"""Python programs as a user runs them, to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pangea.places import python_environment

Ended = subprocess.CompletedProcess[str]
# Whole trainings, on a loaded machine.
PATIENCE_SECONDS = 600.0


def run_python(
    folder: Path,
    *words: str,
    environment: dict[str, str] | None = None,
    working_folder: Path | None = None,
    patience_seconds: float | None = PATIENCE_SECONDS,
    **variables: str,
) -> Ended:
    """Runs `python WORDS` with this test's import path.

    Args:
        folder: where the user is.
        environment: replaces the test's own.
        working_folder: where the process starts; by default where the user is. `bazel run` starts programs elsewhere.
        patience_seconds: None to wait forever.
        variables: added to the environment.
    """
    own = python_environment()
    complete = {
        **(own if environment is None else environment),
        "PYTHONPATH": own["PYTHONPATH"],
        "BUILD_WORKING_DIRECTORY": str(folder),
        **variables,
    }
    return subprocess.run(
        [sys.executable, *words],
        env=complete,
        cwd=working_folder or folder,
        capture_output=True,
        text=True,
        timeout=patience_seconds,
        check=False,
    )


def pangea(
    folder: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    patience_seconds: float | None = PATIENCE_SECONDS,
    **variables: str,
) -> Ended:
    """Runs the `pangea` command as `run_python` does; the process starts elsewhere than the user is."""
    return run_python(
        folder,
        "-m",
        "pangea",
        *arguments,
        environment=environment,
        working_folder=Path(os.sep),
        patience_seconds=patience_seconds,
        **variables,
    )
