"""The `pangea` command as a user runs it, to its end."""

import os
import subprocess
import sys
from pathlib import Path

from pangea.places import python_environment


def pangea(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder."""
    environment = {**python_environment(), "BUILD_WORKING_DIRECTORY": str(folder)}
    return subprocess.run([sys.executable, "-m", "pangea", *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=os.sep)
