"""`pangea program` becomes the service's program, with the user's arguments and the datasets of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pangea.places import python_environment

# `python -m pangea` without the rest of the package.
PANGEA = (sys.executable, "-c", "from pangea.commands.main import main; main(prog_name='pangea')")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PANGEA, "program", *arguments],
        env={**python_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def stand_in(folder: Path, name: str) -> None:
    """Writes a program that prints how it was started."""
    (folder / name).write_text('#!/bin/sh\necho "$$ $PANGEA_DATA_DIR $*"\nexit 7\n')
    (folder / name).chmod(0o755)


def test_the_process_becomes_the_program(tmp_path: Path) -> None:
    stand_in(tmp_path, "go-orchestrator")
    with subprocess.Popen(
        [*PANGEA, "program", "go-orchestrator", "--run-dir", "a b", "--help", "-v"],
        env={**python_environment(), "PANGEA_BIN_DIR": str(tmp_path), "PANGEA_DATA_DIR": "/data"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output, _ = process.communicate()
    assert output == f"{process.pid} /data --run-dir a b --help -v\n"
    assert process.returncode == 7


def test_the_data_service_finds_the_datasets_of_the_package() -> None:
    described = run("rust-compute", "describe", "digits")
    assert described.returncode == 0, described.stderr
    assert "digits" in described.stdout


@pytest.mark.parametrize("name", ["go-orchestrator", "rust-compute"])
def test_without_the_package_s_own_program_the_one_on_the_path_is_taken(name: str, tmp_path: Path) -> None:
    stand_in(tmp_path, name)
    nowhere = str(tmp_path / "nowhere")
    found = run(name, PANGEA_BIN_DIR=nowhere, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert found.returncode == 7, found.stderr
    missing = run(name, PANGEA_BIN_DIR=nowhere)
    assert missing.returncode == 1 and f"{nowhere}/{name} is missing" in missing.stderr
