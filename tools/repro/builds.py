"""The two builds: their targets and outputs, and how the environment of the second one is made different."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.repro.compare import Output

HOST_NAME = "elsewhere"
TIME_ZONE = "Pacific/Chatham"
# Files that Bazel creates beside outputs and that contain paths of the machine by design; they are never shipped.
LEFT_OUT = {
    re.compile(
        r"\.runfiles_manifest$|\.runfiles/MANIFEST$"
    ): "a runfiles manifest lists where files are on this machine, for this machine only",
    re.compile(r"-\d+\.params$"): "a parameter file is an input of one action, not an output of a target",
}
# Prints one line per output: label, path. The files of a target include sources.
_FILES = '"\\n".join([str(target.label) + "\\t" + file.path for file in target.files.to_list() if not file.is_source])'


class BuildError(Exception):
    """Bazel, git or the machine refused."""


@dataclass(frozen=True)
class Build:
    """One place to build in: a workspace, further options of Bazel, a prefix of its command line and the environment."""

    workspace: Path
    startup: list[str]
    options: list[str]
    prefix: list[str]
    environment: dict[str, str]

    def bazel(self, command: str, *arguments: str) -> str:
        """Standard output of one Bazel command; its progress goes to the terminal.

        Raises:
            BuildError: it failed.
        """
        line = [*self.prefix, "./bazelw", *self.startup, command, *self.options, *arguments]
        result = subprocess.run(
            line, cwd=self.workspace, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        if result.returncode != 0:
            raise BuildError(
                f"`./bazelw {command}` in {self.workspace} exited with {result.returncode}; its messages are above"
            )
        return result.stdout


def caller_environment() -> dict[str, str]:
    """The environment of the caller, without the variables of the locked interpreter."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RUNFILES", "BUILD_"))}


def first_build(workspace: Path) -> Build:
    """This workspace as people build it."""
    return Build(workspace, [], [], [], caller_environment())


def second_build(workspace: Path, folder: Path, cache: Path) -> Build:
    """A copy below `folder` with nothing built, for another user on another host.

    Args:
        workspace: what is copied: files that git knows, or would know.
        folder: an empty folder outside /tmp.
        cache: folder of fetched packages, which the second build need not fetch again.
    """
    home, copy = folder / "home/somebody-else", folder / "another/place"
    home.mkdir(parents=True)
    _copy_sources(workspace, copy)
    environment = {
        **caller_environment(),
        "HOME": str(home),
        "USER": "somebody-else",
        "LOGNAME": "somebody-else",
        "TZ": TIME_ZONE,
        "LANG": "tr_TR.UTF-8",
        "XDG_CACHE_HOME": str(cache),
    }
    return Build(
        copy,
        [f"--output_base={folder / 'output-base'}"],
        ["--disk_cache=", "--noremote_accept_cached"],
        _other_host(),
        environment,
    )


def _copy_sources(workspace: Path, copy: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=workspace,
        env=caller_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        raise BuildError(f"git cannot list the files of {workspace}: {listed.stderr.strip()}")
    for name in listed.stdout.split("\0"):
        # A file that was deleted, but is still known to git, is not a source.
        if name and (workspace / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(workspace / name, copy / name, follow_symlinks=False)


def _other_host() -> list[str]:
    """A command prefix that changes the host name; empty where the machine does not allow it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    prefix = ["unshare", *user, "--uts", "sh", "-c", f'hostname {HOST_NAME} && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0
    ):
        return []
    return prefix


def targets(build: Build, patterns: list[str]) -> list[str]:
    """All rules of the patterns except tests, sorted; as in a build, wildcards leave out targets tagged `manual`."""
    every = " + ".join(patterns)
    wildcards = (
        " + ".join(pattern for pattern in patterns if pattern.endswith(("...", ":all", ":*", ":all-targets")))
        or "set()"
    )
    query = f"kind('rule', {every}) except tests({every}) except attr('tags', '\\bmanual\\b', {wildcards})"
    found = build.bazel("query", "--noshow_progress", "--ui_event_filters=-info", query).split()
    if not found:
        raise BuildError(f"{every} has no target that makes an output")
    return sorted(found)


def make(build: Build, labels: list[str], list_file: Path) -> None:
    """Builds the targets; their labels go through a file, since there are many."""
    list_file.write_text("\n".join(labels) + "\n")
    build.bazel("build", f"--target_pattern_file={list_file}")


def outputs(build: Build, labels: list[str]) -> list[Output]:
    """What the targets make, of ours alone, without what LEFT_OUT names."""
    query = f"config(set({' '.join(labels)}), target)"
    lines = build.bazel(
        "cquery",
        "--noshow_progress",
        "--ui_event_filters=-info",
        query,
        "--output=starlark",
        f"--starlark:expr={_FILES}",
    ).splitlines()
    return parse_outputs(lines)


def parse_outputs(lines: list[str]) -> list[Output]:
    """Outputs of `label<TAB>path` lines; each path once, no file of another repository."""
    found: dict[str, Output] = {}
    for line in filter(None, lines):
        label, path = line.split("\t")
        if (
            path.startswith("bazel-out/")
            and "/external/" not in path
            and not any(pattern.search(path) for pattern in LEFT_OUT)
        ):
            found.setdefault(path, Output(label.lstrip("@"), path))
    return list(found.values())
