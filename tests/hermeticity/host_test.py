"""A test sees no compiler of the machine, no file of the workspace that it did not ask for, and nothing of who started it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILERS = ["gcc", "g++", "cc", "c++", "clang", "ld", "as", "go", "rustc", "cargo", "zig", "capnp", "javac"]
# Places where machines keep them, whatever PATH says.
FOLDERS = ["/bin", "/usr/bin", "/usr/local/bin", "/usr/local/go/bin", "/opt"]


@pytest.mark.parametrize("name", COMPILERS)
def test_no_compiler_is_there(name: str) -> None:
    assert shutil.which(name) is None
    assert not [folder for folder in FOLDERS if (Path(folder) / name).exists()]


def test_a_shell_finds_no_compiler_and_no_python() -> None:
    found = subprocess.run(["/bin/sh", "-c", "command -v cc gcc python python3 rustc go"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_no_header_or_library_for_development_is_there() -> None:
    assert not Path("/usr/include/stdio.h").exists()
    assert not list(Path("/usr/lib").glob("**/crt1.o"))


def test_undeclared_files_of_the_workspace_are_not_there() -> None:
    # This file was declared, the README beside it was not.
    runfiles = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
    assert (runfiles / "tests/hermeticity/host_test.py").exists()
    assert not (runfiles / "tests/hermeticity/README.md").exists()
    working = Path.cwd()
    assert not [folder for folder in [working, *working.parents] if (folder / "MODULE.bazel").exists()]


def test_the_callers_environment_is_not_there() -> None:
    foreign = {"USERNAME", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONSTARTUP", "GOPATH", "GOROOT", "CARGO_HOME", "RUSTUP_HOME", "JAVA_HOME", "VIRTUAL_ENV"}
    assert not foreign & os.environ.keys()
    # Bazel's test wrapper puts the working folder in front.
    assert set(os.environ["PATH"].split(":")) <= {".", "/bin", "/usr/bin", "/usr/local/bin"}
