"""The linters and formatters: for each, the command that checks and the one that fixes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.lint.files import imports_bindings, source_files, with_interpreter, with_suffix


@dataclass(frozen=True)
class Tool:
    """A tool, whose commands end with the files; `fix` is empty if it can only report."""

    name: str
    check: list[str]
    fix: list[str]
    files: list[str]
    # gofmt -l names files and exits with 0.
    output_is_failure: bool = False


def all_tools(workspace: Path, programs: dict[str, str]) -> list[Tool]:
    """The tools, with the files of this workspace that each checks.

    Args:
        workspace: its root.
        programs: absolute path of each program by name.
    """
    files = source_files(workspace)
    python = with_suffix(files, ".py", ".pyi") + with_interpreter(workspace, files, "python3")
    rust, go = with_suffix(files, ".rs"), with_suffix(files, ".go")
    shell = with_suffix(files, ".sh") + with_interpreter(workspace, files, "sh")
    starlark = with_suffix(files, ".bzl", ".bazel", "BUILD")
    ruff, rustfmt = programs["ruff"], [programs["rustfmt"], "--edition", "2021", "--config-path", str(workspace)]
    # Not a child of this interpreter's bare file: the launcher knows the loader.
    mypy = [os.environ.get("PANGEA_PYTHON", sys.executable), "-m", "mypy", "--no-error-summary", "--no-incremental"]
    # Generated bindings are not files of the workspace: files that import them cannot be checked here.
    ours = [
        file
        for file in python
        if file.startswith(("services/python-ai-client/pangea/", "tests/", "tools/")) and file.endswith(".py")
    ]
    typed = [file for file in ours if not imports_bindings(workspace / file)]
    return [
        Tool(
            "ruff check",
            [ruff, "check", "--quiet", "--no-cache"],
            [ruff, "check", "--quiet", "--no-cache", "--fix"],
            python,
        ),
        Tool(
            "ruff format",
            [ruff, "format", "--quiet", "--no-cache", "--check"],
            [ruff, "format", "--quiet", "--no-cache"],
            python,
        ),
        Tool("mypy", mypy, [], typed),
        Tool("gofmt", [programs["gofmt"], "-l"], [programs["gofmt"], "-w"], go, output_is_failure=True),
        Tool("rustfmt", [*rustfmt, "--check", "--files-with-diff"], rustfmt, rust),
        Tool(
            "buildifier",
            [programs["buildifier"], "-mode=check", "-lint=off"],
            [programs["buildifier"], "-lint=off"],
            starlark,
        ),
        Tool("shellcheck", [programs["shellcheck"], "--severity=warning"], [], shell),
    ]


def run(tool: Tool, workspace: Path, fix: bool) -> str:
    """The findings in the tool's own words, empty if there are none. With `fix`, the tool fixes what it can."""
    command = tool.fix if fix else tool.check
    if not tool.files:
        return ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    result = subprocess.run(
        [*command, *tool.files],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        return result.stdout.strip() or f"it exited with {result.returncode}"
    return result.stdout.strip() if tool.output_is_failure else ""
