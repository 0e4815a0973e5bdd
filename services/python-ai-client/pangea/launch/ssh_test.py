"""The exit code of an `ssh` stands for that of its remote process, and its input carries the identity of that."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pangea.launch.identities import Identities
from pangea.launch.job import Job
from pangea.launch.settings import Settings
from pangea.launch.ssh import Hosts, Remote, RemoteChild, render, worker
from pangea.services.child import wait_for
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


def job(folder: Path) -> Job:
    return Job(Settings(folder / "train.py", workers=2, data_replicas=2), "first", folder / "run")


def test_services_listen_where_workers_are_told_to_connect(tmp_path: Path) -> None:
    rendered = render(job(tmp_path), Hosts(("me@10.0.0.1", "10.0.0.2")))
    assert "0.0.0.0" not in rendered
    assert "--listen 10.0.0.1:8080 --http 10.0.0.1:8081" in rendered
    assert "--listen 10.0.0.2:9092 --http 10.0.0.2:9093" in rendered
    assert "PANGEA_ORCHESTRATOR=10.0.0.1:8080 PANGEA_DATA=10.0.0.1:9090,10.0.0.2:9092" in rendered


@pytest.mark.parametrize(
    ("hosts", "secure", "takes"),
    [
        (("127.0.0.1", "me@localhost"), None, False),
        (("127.0.0.1", "10.0.0.1"), None, True),
        (("127.0.0.1",), True, True),
        (("10.0.0.1",), False, False),
    ],
)
def test_processes_take_an_identity_as_soon_as_a_host_is_beyond_the_loopback(
    hosts: tuple[str, ...], secure: bool | None, takes: bool, tmp_path: Path
) -> None:
    for command in render(job(tmp_path), Hosts(hosts, secure=secure)).splitlines():
        assert ("PANGEA_INSECURE=1" in command) == (secure is False and "flock" in command)
    assert ("PANGEA_IDENTITY" in render(job(tmp_path), Hosts(hosts, secure=secure))) == takes


def test_the_identity_arrives_by_the_input_and_ends_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    identity = Identities("first", ("worker-1",)).of("worker-1")
    (tmp_path / "pangea").write_text(
        '#!/bin/sh\nls -ld "$PANGEA_IDENTITY"; ls -l "$PANGEA_IDENTITY"; cat "$PANGEA_IDENTITY/key.pem"; echo ready;'
        " exec sleep 1000\n"
    )
    (tmp_path / "pangea").chmod(0o755)
    remote = worker(job(tmp_path), Hosts(("10.0.0.1",), str(tmp_path)), 0)
    # As ssh would hand the command to a shell on the host.
    child = RemoteChild(Remote("worker-1", "10.0.0.1", ["sh", "-c", remote.command[-1]]), tmp_path / "log", identity)
    assert wait_for(lambda: "ready" in child.output() or None, 60), child.log_tail()
    output = "\n".join(child.output())
    assert identity.key.decode().strip() in output
    assert "drwx------" in output and output.count("-rw-------") == 1
    command_lines = b"".join(file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists())
    assert base64.b64encode(identity.archive())[:200] not in command_lines
    assert len(list((tmp_path / "runtime").iterdir())) == 1
    child.stop(60)
    assert not list((tmp_path / "runtime").iterdir())
