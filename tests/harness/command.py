"""The `pangea` command as a user runs it, to its end."""

import os
import subprocess
import sys
from pathlib import Path

from pangea.places import python_environment


def pangea(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder, with this environment in place of the test's own."""
    own = python_environment()
    variables = {**(own if environment is None else environment), "PYTHONPATH": own["PYTHONPATH"], "BUILD_WORKING_DIRECTORY": str(folder)}
    return subprocess.run([sys.executable, "-m", "pangea", *arguments], env=variables, capture_output=True, text=True, timeout=600, check=False, cwd=os.sep)
