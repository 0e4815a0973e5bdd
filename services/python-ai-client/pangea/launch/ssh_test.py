"""The exit code of an `ssh` stands for that of its remote process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangea.launch.ssh import Remote, RemoteChild
from pangea.services.restarts import ExitStatus, exit_status


@pytest.mark.parametrize(
    ("script", "worker", "service"),
    [
        ("exit 0", ExitStatus.EXITED, ExitStatus.EXITED),
        ("exit 3", ExitStatus.FAILED, ExitStatus.FAILED),
        # What `pangea worker` exits with after SIGTERM.
        ("exit 143", ExitStatus.EXITED, ExitStatus.KILLED),
        ("exit 137", ExitStatus.KILLED, ExitStatus.KILLED),
        # The connection is lost.
        ("exit 255", ExitStatus.KILLED, ExitStatus.KILLED),
        ("kill -9 $$", ExitStatus.KILLED, ExitStatus.KILLED),
    ],
)
def test_the_exit_status_is_that_of_the_remote_process(
    script: str, worker: ExitStatus, service: ExitStatus, tmp_path: Path
) -> None:
    child = RemoteChild(Remote("it", "somewhere", ["sh", "-c", script]), tmp_path / "log")
    child.process.wait(60)
    assert exit_status(child.exit_code(), is_service=False) is worker
    assert exit_status(child.exit_code(), is_service=True) is service


def test_sigterm_closes_the_input(tmp_path: Path) -> None:
    child = RemoteChild(Remote("it", "somewhere", ["sh", "-c", "cat; exit 5"]), tmp_path / "log")
    assert child.stop(60) == 5
