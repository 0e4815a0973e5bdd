"""A second call is refused while the first one lives, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.setup.lock import AlreadyRunning, take_lock

HOLD = """
import pathlib, sys
from tools.setup.lock import take_lock
held = take_lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_call_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with take_lock(file), pytest.raises(AlreadyRunning, match=f"process {os.getpid()}, lock {file}"):
        take_lock(file)
    take_lock(file).close()


def test_a_call_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid}"):
            take_lock(file)
        holder.kill()
        holder.wait()
    take_lock(file).close()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take_lock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
