"""What the end of an `ssh` says of the process behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangea.launch.ssh import Remote, RemoteChild
from pangea.services.restarts import Fate, fate


@pytest.mark.parametrize(
    ("script", "worker", "service"),
    [
        ("exit 0", Fate.LEFT, Fate.LEFT),
        ("exit 3", Fate.FAILED, Fate.FAILED),
        # A worker that was asked to end, and `pangea worker` says so.
        ("exit 143", Fate.LEFT, Fate.KILLED),
        ("exit 137", Fate.KILLED, Fate.KILLED),
        # The connection is lost.
        ("exit 255", Fate.KILLED, Fate.KILLED),
        ("kill -9 $$", Fate.KILLED, Fate.KILLED),
    ],
)
def test_an_exit_code_is_read_as_that_of_a_process_here(script: str, worker: Fate, service: Fate, tmp_path: Path) -> None:
    child = RemoteChild(Remote("it", "somewhere", ["sh", "-c", script]), tmp_path / "log")
    child.process.wait(60)
    assert fate(child.exit_code(), is_service=False) is worker
    assert fate(child.exit_code(), is_service=True) is service


def test_sigterm_is_the_end_of_the_input(tmp_path: Path) -> None:
    child = RemoteChild(Remote("it", "somewhere", ["sh", "-c", "cat; exit 5"]), tmp_path / "log")
    assert child.stop(60) == 5
