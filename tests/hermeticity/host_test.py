"""A test has no compiler of the machine, no undeclared file, no place to write but its own, no caller's environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILERS = ["gcc", "g++", "cc", "c++", "clang", "ld", "as", "go", "rustc", "cargo", "zig", "capnp", "javac"]
# Where machines usually keep them, whatever PATH says.
FOLDERS = ["/bin", "/usr/bin", "/usr/local/bin", "/usr/local/go/bin", "/opt"]


@pytest.mark.parametrize("name", COMPILERS)
def test_there_is_no_compiler(name: str) -> None:
    assert shutil.which(name) is None
    assert not [folder for folder in FOLDERS if (Path(folder) / name).exists()]


def test_a_shell_finds_no_compiler_and_no_python() -> None:
    found = subprocess.run(
        ["/bin/sh", "-c", "command -v cc gcc python python3 rustc go"], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_there_is_no_header_or_development_library() -> None:
    assert not Path("/usr/include/stdio.h").exists()
    assert not list(Path("/usr/lib").glob("**/crt1.o"))


def test_there_are_no_undeclared_files_of_the_workspace() -> None:
    # This file is declared, the README beside it is not.
    runfiles = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
    assert (runfiles / "tests/hermeticity/host_test.py").exists()
    assert not (runfiles / "tests/hermeticity/README.md").exists()
    working = Path.cwd()
    assert not [folder for folder in [working, *working.parents] if (folder / "MODULE.bazel").exists()]


def writable(file: Path) -> bool:
    """Whether the file can be created; it is removed again."""
    try:
        file.touch()
    except OSError:
        return False
    file.unlink()
    return True


def test_nothing_can_be_written_outside() -> None:
    # An input is a link that leads out of the sandbox into the workspace.
    beside = Path(__file__).resolve().with_name("canary.tmp")
    outside = [beside, Path.home() / "canary.tmp", Path("/usr/canary.tmp"), Path("/var/tmp/canary.tmp")]
    assert [file for file in outside if writable(file)] == []
    assert writable(Path(os.environ["TEST_TMPDIR"], "canary.tmp"))


def test_there_is_nothing_of_the_callers_environment() -> None:
    # Without USER, which Bazel itself sets for every test.
    who = {"HOME", "LOGNAME", "USERNAME", "SSH_AUTH_SOCK"}
    languages = {"PYTHONSTARTUP", "VIRTUAL_ENV", "GOPATH", "GOROOT", "CARGO_HOME", "RUSTUP_HOME", "JAVA_HOME"}
    assert not (who | languages | {"LD_LIBRARY_PATH", "LD_PRELOAD"}) & os.environ.keys()
    # Bazel's test wrapper prepends the working folder.
    assert set(os.environ["PATH"].split(":")) <= {".", "/bin", "/usr/bin", "/usr/local/bin"}
