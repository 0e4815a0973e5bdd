"""`pangea launch --backend ssh` with a stand-in for `ssh`, fake_ssh.py, which runs the commands on this machine."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from pangea.places import program
from tests.chaos import fake_ssh
from tests.harness.cluster import Cluster
from tests.harness.command import pangea
from tests.harness.launched import Launched, launched, new_run
from tests.harness.processes import parent_of
from tools.processes.waiting import eventually

_GATE_STEP = 3


def script(file: Path, text: str) -> None:
    """Writes an executable shell script."""
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the programs that the hosts have; puts the stand-in for `ssh` on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("go-orchestrator", "rust-compute"):
        (folder / name).symlink_to(program(name))
    script(
        folder / "pangea",
        f'PYTHONPATH={shlex.quote(os.pathsep.join(sys.path))} exec {shlex.quote(sys.executable)} -m pangea "$@"',
    )
    script(tmp_path / "ssh", f'exec {shlex.quote(sys.executable)} {shlex.quote(fake_ssh.__file__)} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return folder


def launch(programs: Path | None, run_dir: Path, *hosts: str) -> list[str]:
    """Arguments of `pangea` for a run on these hosts, whose programs are in a folder, or are what `pangea` has."""
    # Certificates through the input of `ssh`, although everything is on the loopback.
    _train, *words = new_run(run_dir, "--workers", "2", "--data-replicas", "2", "--secure")
    return [
        "launch",
        "--backend",
        "ssh",
        *(["--programs", str(programs)] if programs is not None else []),
        *(word for host in hosts for word in ("--host", host)),
        *words,
    ]


def connection(command: Launched, name: str) -> int:
    """The `ssh` process that holds the connection of the process of this name."""
    mark = f"PANGEA_WORKER_NAME={name} " if name.startswith("worker") else f"/{name}.lock "
    (pid,) = [pid for pid, words in command.processes(mark).items() if "fake_ssh" in words]
    return pid


def real(command: Launched, name: str) -> dict[int, str]:
    """The processes of this name on the host, without `ssh`, the shells around them, and forks that rehearse."""
    found = {pid: words for pid, words in command.processes(name).items() if "exec 3<&0" not in words}
    return {pid: words for pid, words in found.items() if parent_of(pid) not in found}


def wait_again(command: Launched, name: str, pid: int) -> None:
    """Waits until there is another process of this name. The old worker may still be there, waiting at its gate."""
    eventually(lambda: set(real(command, name)) - {pid}, f"{name} is restarted")


def test_killed_processes_and_cut_connections_are_replaced_and_the_bits_hold(
    programs: Path, alone: Cluster, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with launched(
        run_dir, launch(programs, run_dir, "127.0.0.1", "me@127.0.0.2"), gate_step=_GATE_STEP, errors=["Killed"]
    ) as command:
        command.wait_mid_step(2)
        for name in ("worker-1", "go-orchestrator"):
            (pid,) = real(command, name)
            os.kill(pid, signal.SIGKILL)
            wait_again(command, name, pid)
        for name in ("worker-2", "go-orchestrator"):
            (pid,) = real(command, name)
            os.kill(connection(command, name), signal.SIGKILL)
            wait_again(command, name, pid)
        command.open_gates()
        said = command.wait_exit(0)
    assert "worker-1 was killed (signal 9); started again" in said
    assert command.hashes() == alone.hashes()
    assert command.final() == alone.final()
    eventually(lambda: not command.processes(), "no process outlives the run")
    audit = pangea(tmp_path, "audit", str(run_dir))
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_hosts_that_have_only_the_command_pangea_start_the_services_that_it_brings_along(
    programs: Path, alone: Cluster, tmp_path: Path
) -> None:
    # On PATH, beside the stand-in for `ssh`.
    (programs / "pangea").rename(tmp_path / "pangea")
    run_dir = tmp_path / "run"
    with launched(
        run_dir, launch(None, run_dir, "127.0.0.1", "me@127.0.0.2"), gate_step=_GATE_STEP, errors=["Killed"]
    ) as command:
        command.wait_mid_step(2)
        (pid,) = real(command, "go-orchestrator")
        os.kill(pid, signal.SIGKILL)
        wait_again(command, "go-orchestrator", pid)
        command.open_gates()
        command.wait_exit(0)
    assert command.hashes() == alone.hashes()
    assert command.final() == alone.final()
    eventually(lambda: not command.processes(), "no process outlives the run")


def test_no_process_outlives_a_launcher_that_is_killed(programs: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, launch(programs, run_dir, "127.0.0.1"), gate_step=_GATE_STEP) as command:
        command.wait_mid_step(2)
        command.child.signal(signal.SIGKILL)
        command.open_gates()
        eventually(lambda: not command.processes(), "all processes have ended")


def test_the_error_for_a_host_that_refuses_has_what_ssh_said(programs: Path, tmp_path: Path) -> None:
    script(tmp_path / "ssh", "echo Permission denied >&2; exit 255")
    with launched(
        tmp_path / "run", launch(programs, tmp_path / "run", "elsewhere"), errors=["Permission denied"]
    ) as command:
        said = command.wait_exit(1)
    assert "Permission denied" in said
