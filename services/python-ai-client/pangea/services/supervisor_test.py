"""A process that is killed is restarted under its name and address; one that exits is not."""

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pangea.rundir.layout import Addresses
from pangea.services.child import Child, ChildFailed, wait_for
from pangea.services.restarts import ExitStatus, RestartPolicy
from pangea.services.supervisor import Process, Supervisor

WAITING = "import threading; threading.Event().wait()"
POLICY = RestartPolicy(max_restarts=2, window=60.0, initial_delay=1.0, max_delay=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """A supervisor with a clock that only the test advances, and the events that it reports."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.events, self.folder = Clock(), list[str](), folder
        self.supervisor = Supervisor(POLICY, self.events.append, self.clock)

    def start(self, name: str, code: str, addresses: Addresses | None = None) -> Process:
        start = lambda: Child(name, [sys.executable, "-c", code], self.folder / "log")  # noqa: E731
        process = self.supervisor.add(name, start, None if addresses is None else lambda _child: addresses)
        process.wait_ready()
        return process

    def kill(self, process: Process) -> None:
        process.child.process.kill()
        process.child.process.wait()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.supervisor.stop(made.supervisor.processes)


def wait_exit(process: Process) -> None:
    assert wait_for(lambda: process.child.exit_code(), 60.0) is not None


def test_a_killed_process_is_restarted_immediately_and_without_progress_after_a_delay(watch: Watch) -> None:
    worker = watch.start("worker-2", WAITING)
    first = worker.child.process.pid
    watch.kill(worker)
    watch.supervisor.poll(progress=0)
    assert worker.child.process.pid != first
    assert worker.restarts == 1 and worker.alive
    watch.kill(worker)
    watch.supervisor.poll(progress=1)
    assert worker.restarts == 2 and worker.alive
    assert watch.events == ["worker-2 was killed (signal 9); started again"] * 2
    watch.kill(worker)
    watch.supervisor.poll(progress=1)
    assert worker.restarts == 2 and worker.alive
    assert watch.events[2:] == ["worker-2 was killed (signal 9); starting it again in 1.0 s"]
    watch.clock.now = 1.0
    watch.supervisor.poll(progress=1)
    assert worker.restarts == 3 and worker.child.exit_code() is None


def test_a_worker_that_exits_is_not_restarted_and_a_failure_is_reported(watch: Watch) -> None:
    good, asked, bad = (
        watch.start("good", "pass"),
        watch.start("asked", WAITING),
        watch.start("bad", "raise SystemExit('pangea: x.py, line 3: no such layer')"),
    )
    asked.child.process.terminate()
    for worker in (good, bad, asked):
        wait_exit(worker)
    watch.supervisor.poll(progress=0)
    assert (good.status, bad.status, asked.status) == (ExitStatus.EXITED, ExitStatus.FAILED, ExitStatus.EXITED)
    assert not any(worker.alive for worker in (good, bad, asked))
    assert watch.events == [f"bad exited with code 1: x.py, line 3: no such layer\nIts log: {watch.folder / 'log'}"]


def test_the_failure_of_the_last_worker_is_not_reported_as_an_event(watch: Watch) -> None:
    first, second = watch.start("first", "raise SystemExit(3)"), watch.start("second", WAITING)
    wait_exit(first)
    watch.supervisor.poll(progress=0)
    assert (
        len(watch.events) == 1
        and watch.events[0].startswith("first exited with code 3")
        and watch.events[0].endswith("The other workers continue.")
    )
    second.start = lambda: Child("second", [sys.executable, "-c", "raise SystemExit(3)"], watch.folder / "log")
    watch.kill(second)
    watch.supervisor.poll(progress=0)
    wait_exit(second)
    watch.supervisor.poll(progress=0)
    assert second.status is ExitStatus.FAILED
    assert [event.split()[0] for event in watch.events[1:]] == ["second"], "only that it was killed, not that it failed"


def test_a_crash_loop_is_an_error_with_the_end_of_the_log(watch: Watch) -> None:
    worker = watch.start("worker-1", "import os; print('out of luck', flush=True); os.abort()")
    wait_exit(worker)
    watch.supervisor.poll(progress=4)
    wait_exit(worker)
    watch.supervisor.poll(progress=4)
    watch.clock.now = 1.0
    watch.supervisor.poll(progress=4)
    wait_exit(worker)
    with pytest.raises(
        ChildFailed,
        match=r"(?s)worker-1 was killed \(signal 6\); crash loop: 2 restarts without progress at step 4.*out of luck",
    ):
        watch.supervisor.poll(progress=4)


def test_a_failed_service_is_an_error_with_the_end_of_its_log(watch: Watch) -> None:
    service = watch.start("service", "raise SystemExit('the disk is full')", Addresses("127.0.0.1:1", "127.0.0.1:2"))
    wait_exit(service)
    with pytest.raises(ChildFailed, match=r"(?s)service exited with code 1.*the disk is full"):
        watch.supervisor.poll(progress=0)


def test_a_restart_waits_until_the_address_is_free_and_fails_after_a_while(watch: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = watch.start("service", WAITING, Addresses(address, "127.0.0.1:0"))
        watch.kill(service)
        watch.supervisor.poll(progress=0)
        assert service.alive and service.restarts == 0
        watch.clock.now = 31.0
        with pytest.raises(ChildFailed, match=f"another process has been using its address {address}"):
            watch.supervisor.poll(progress=0)
    watch.supervisor.poll(progress=0)
    assert service.restarts == 1


def test_waiting_ends_when_a_process_exits(watch: Watch) -> None:
    watch.start("first", WAITING)
    second = watch.start("second", WAITING)
    second.child.process.terminate()
    # Far longer than a test may take, if nobody noticed.
    watch.supervisor.wait(100_000.0)
    wait_exit(second)
    watch.supervisor.wait(100_000.0)
    watch.supervisor.poll(progress=0)
    assert second.status is ExitStatus.EXITED
    watch.supervisor.wait(0.0)


def test_stop_ends_all_processes_and_cancels_restarts(watch: Watch) -> None:
    dead, living = watch.start("dead", WAITING), watch.start("living", WAITING)
    watch.kill(dead)
    watch.supervisor.poll(progress=0)
    watch.kill(dead)
    watch.supervisor.poll(progress=0)
    watch.supervisor.stop(watch.supervisor.processes)
    watch.clock.now = 100.0
    watch.supervisor.poll(progress=0)
    assert not dead.alive and not living.alive
    assert living.child.exit_code() == -signal.SIGTERM


def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = f"""
import json, pathlib, signal, sys
from pangea.services.child import Child
child = Child("child", [sys.executable, "-c", {WAITING!r}], pathlib.Path({str(tmp_path / "log")!r}))
file = pathlib.Path({str(tmp_path / "pid")!r})
file.with_suffix(".tmp").write_text(json.dumps(child.process.pid))
file.with_suffix(".tmp").rename(file)
signal.pause()
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    process = Child("parent", [sys.executable, "-c", parent], tmp_path / "parent.log", environment)
    pid = wait_for(lambda: json.loads((tmp_path / "pid").read_text()) if (tmp_path / "pid").exists() else None, 60.0)
    assert pid is not None, process.log_tail()
    process.process.kill()
    process.process.wait()
    assert wait_for(lambda: not running(pid) or None, 60.0), "the child outlived its parent"


def running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
