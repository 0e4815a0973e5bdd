"""Faults affect the processes that they name, and no others."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pangea.chaos.injector import Injector
from pangea.chaos.schedule import Fault, FaultKind
from pangea.launch.session import Session
from pangea.launch.settings import Settings
from pangea.rundir.layout import Addresses
from pangea.services.child import Child, wait_for
from pangea.services.restarts import UNLIMITED_RESTARTS, ExitStatus
from pangea.services.supervisor import Process

# Prints a line once it can be signalled, then waits.
WAITING = "import signal; print('here', flush=True); signal.pause()"


class Stage:
    """A session whose processes do nothing but wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = Session(Settings(Path("none"), workers=2), folder, "r", UNLIMITED_RESTARTS, lambda _event: None)
        self.session.workers += [self.waiting("worker-1"), self.waiting("worker-2")]
        self.session.orchestrator = self.waiting("orchestrator", is_service=True)
        self.session.data_services.append(self.waiting("data", is_service=True))
        self.injector = Injector(self.session)

    def waiting(self, name: str, is_service: bool = False) -> Process:
        log = self.folder / name
        process = self.session.supervisor.add(
            name,
            lambda: Child(name, [sys.executable, "-c", WAITING], log),
            (lambda _child: Addresses()) if is_service else None,
        )
        assert wait_for(lambda: "here" in log.read_text() or None, 60.0)
        return process

    def inject(self, kind: FaultKind, pick: float = 0.0, now: float = 0.0) -> tuple[FaultKind, list[str]] | None:
        return self.injector.inject(Fault(now, kind, pick, seconds=2.0), now)

    def state(self, process: Process) -> str:
        """The state in /proc: S is sleeping, T is stopped."""
        return Path(f"/proc/{process.child.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.session.stop()


def wait_exit(process: Process) -> int | None:
    return wait_for(lambda: process.child.exit_code(), 60.0)


@pytest.mark.parametrize(
    ("kind", "pick", "names"),
    [
        (FaultKind.KILL_WORKER, 0.0, ["worker-1"]),
        (FaultKind.KILL_WORKER, 0.99, ["worker-2"]),
        (FaultKind.KILL_ALL_WORKERS, 0.5, ["worker-1", "worker-2"]),
        (FaultKind.KILL_ORCHESTRATOR, 0.5, ["orchestrator"]),
        (FaultKind.KILL_DATA, 0.5, ["data"]),
    ],
)
def test_a_kill_affects_the_named_processes_only(kind: FaultKind, pick: float, names: list[str], stage: Stage) -> None:
    assert stage.inject(kind, pick) == (kind, names)
    for process in stage.session.supervisor.processes:
        if process.name in names:
            assert wait_exit(process) == -signal.SIGKILL
        else:
            assert process.child.exit_code() is None


def test_a_paused_worker_is_stopped_for_its_time_and_not_affected_by_other_faults(stage: Stage) -> None:
    first, second = stage.session.workers
    assert stage.inject(FaultKind.PAUSE_WORKER, 0.0, now=1.0) == (FaultKind.PAUSE_WORKER, ["worker-1"])
    assert wait_for(lambda: stage.state(first) == "T" or None, 60.0)
    assert stage.inject(FaultKind.KILL_WORKER, 0.0, now=1.0) == (FaultKind.KILL_WORKER, ["worker-2"])
    assert wait_exit(second) == -signal.SIGKILL
    stage.injector.resume_paused(2.9)
    assert stage.state(first) == "T" and not stage.injector.idle
    stage.injector.resume_paused(3.0)
    assert wait_for(lambda: stage.state(first) == "S" or None, 60.0)
    assert stage.injector.idle


def test_a_worker_leaves_on_sigterm(stage: Stage) -> None:
    assert stage.inject(FaultKind.LEAVE) == (FaultKind.LEAVE, ["worker-1"])
    assert wait_exit(stage.session.workers[0]) == -signal.SIGTERM
    stage.session.supervisor.poll(progress=0)
    assert stage.session.workers[0].status is ExitStatus.EXITED


def test_a_fault_without_a_target_returns_none(stage: Stage) -> None:
    stage.inject(FaultKind.KILL_ALL_WORKERS)
    for worker in stage.session.workers:
        assert wait_exit(worker) == -signal.SIGKILL
    assert stage.inject(FaultKind.KILL_WORKER) is None
