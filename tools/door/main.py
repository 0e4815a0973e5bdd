"""What the words after ./bazelw mean."""

from __future__ import annotations

import os
import pathlib
import shlex
import sys

from .doctor import doctor
from .errors import DoorError
from .machine import run_on_machine, run_position
from .provision import Provision
from .root import bazel_command, check_place


def shell_environment(provision: Provision, workspace: pathlib.Path) -> str:
    """Shell code that puts a `bazel` on PATH which is this workspace's bazelw."""
    folder = provision.cache / "shims" / workspace.as_posix().strip("/").replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "bazel"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(str(workspace / "bazelw"))} "$@"\n')
    shim.chmod(0o755)
    return f"export PATH={shlex.quote(str(folder))}:$PATH"


def main(workspace: pathlib.Path, arguments: list[str]) -> int:
    """Runs one command; returns its exit code."""
    try:
        provision = Provision(workspace)
        if arguments[:1] == ["doctor"]:
            return doctor(provision, "--json" in arguments)
        if arguments[:1] == ["env"]:
            print(shell_environment(provision, workspace))
            return 0
        host = os.environ.get("PANGEA_BAZEL")
        if host:
            provision.apt.prepare()
            # Startup options stay in front; the configuration follows the command.
            os.environ.update(PANGEA_APT_DIR=str(provision.apt.folder), PANGEA_DIST_DIR=str(provision.dist))
            os.execvp(host, [host, *arguments])
        # Before anything is fetched to a place that cannot be used.
        check_place(provision)
        provision.ensure()
        position = run_position(arguments)
        if position is not None:
            return run_on_machine(provision, arguments, position)
        command = bazel_command(provision, arguments)
        os.execv(command[0], command)
    except DoorError as error:
        print(f"bazelw: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
