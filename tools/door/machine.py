"""`./bazelw run`: built inside the root, run on the machine itself, where the user's own programs (a container engine,
kubectl, ssh, git) can be called."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile

from .provision import Provision
from .root import bazel_command


def run_position(arguments: list[str]) -> int | None:
    """Where the command `run` stands in the arguments of Bazel; None if it is another command, or if the caller wants
    the script himself.

    Startup options come before the command and are written with `=`.
    """
    position = next((number for number, word in enumerate(arguments) if not word.startswith("-")), None)
    if position is None or arguments[position] != "run":
        return None
    options = arguments[position + 1 :]
    options = options[: options.index("--")] if "--" in options else options
    return None if any(option.startswith("--script_path") for option in options) else position


def run_on_machine(provision: Provision, arguments: list[str], position: int) -> int:
    """Builds the target, then replaces this process by its program; returns Bazel's exit code if it cannot be built."""
    with tempfile.TemporaryDirectory(dir=provision.cache) as folder:
        script = pathlib.Path(folder) / "run.sh"
        with_script = [*arguments[: position + 1], f"--script_path={script}", *arguments[position + 1 :]]
        code = subprocess.run(bazel_command(provision, with_script), check=False).returncode
        if code != 0 or not script.exists():
            return code
        text = script.read_text()
    # What works with apt (update_locks) uses the private configuration, as it would inside the root.
    os.environ["PANGEA_APT_DIR"] = str(provision.apt.folder)
    os.execv("/bin/sh", ["/bin/sh", "-c", text, "bazelw-run"])
