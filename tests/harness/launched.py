"""`pangea train` or `pangea launch` as a process, with workers that stop at a gate until the test opens it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pangea.places import python_environment
from pangea.rundir.status import read_status
from pangea.services.child import Child
from tests.harness.cluster import OPTIONS, SCRIPT
from tests.harness.gates import Gates
from tests.harness.processes import find_processes, kill, parent_of, wait_exit
from tests.harness.run_files import RunFiles
from tests.harness.service_logs import assert_no_errors
from tools.processes.waiting import eventually


def new_run(run_dir: Path, *options: str) -> list[str]:
    """Arguments of `pangea train` for a run with the bits of `cluster.OPTIONS`."""
    arithmetic = {name: getattr(OPTIONS, name) for name in ("epochs", "batch_size", "shards", "seed")}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in arithmetic.items()]
    return ["train", str(SCRIPT), *words, "--run-dir", str(run_dir), *options]


class Launched(RunFiles):
    """The running command.

    Attributes:
        child: its process.
    """

    def __init__(self, run_dir: Path, arguments: list[str], gate_step: int) -> None:
        super().__init__(run_dir)
        folder = run_dir.parent
        self._gates, self._computed = Gates(folder / "gates"), folder / "computed"
        # An earlier command's steps are not this one's.
        shutil.rmtree(self._computed, ignore_errors=True)
        self._computed.mkdir()
        variables = {**python_environment(), **self._gates.environment(gate_step), "COMPUTED_DIR": str(self._computed)}
        self.child = Child("pangea", [sys.executable, "-m", "pangea", *arguments], folder / "pangea.log", variables)

    @property
    def output(self) -> str:
        """What this command has printed, without what earlier ones have."""
        return "\n".join(self.child.output())

    def computed(self) -> set[int]:
        """The steps for which this command's workers have computed something."""
        return {int(line) for file in self._computed.iterdir() for line in file.read_text().split()}

    def wait_steps(self, steps: int) -> None:
        """Waits until metrics.jsonl has this number of steps."""

        def there() -> bool:
            assert self.child.exit_code() is None, self.output
            return len(self.metrics()) >= steps

        eventually(there, f"{steps} steps are done")

    def wait_mid_step(self, workers: int) -> None:
        """Waits until this number of workers has joined and one of them is at its gate; the others may wait for it."""

        def there() -> bool:
            assert self.child.exit_code() is None, self.output
            return (
                self._gates.is_any_reached() and len(read_status(str(self.run_dir), self.run_dir)["workers"]) == workers
            )

        eventually(there, f"{workers} workers join, and one reaches its gate")

    def open_gates(self) -> None:
        """Lets all workers continue, also those that arrive later."""
        for number in range(1, 10):
            self._gates.open(f"worker-{number}")

    def wait_exit(self, code: int) -> str:
        """Waits until the command has ended and asserts its exit code; gives its output."""
        ended = wait_exit(self.child)
        assert ended == code, f"the command ended with {ended}:\n{self.output}"
        return self.output

    def processes(self, part: str = "") -> dict[int, str]:
        """The command line, by pid, of the run's processes whose command line contains `part`, or of this worker."""
        mark, worker = f"PANGEA_RUN_DIR={self.run_dir}\0".encode(), f"PANGEA_WORKER_NAME={part}\0".encode()

        def belongs(command: bytes, variables: bytes) -> bool:
            ours = str(self.run_dir).encode() in command or mark in variables
            return ours and (part.encode() in command or worker in variables)

        return find_processes(belongs)

    def _started(self, part: str) -> set[int]:
        """The processes that the command itself has started; a worker that rehearses a shard has a fork for a while."""
        found = {*self.processes(part)}
        return {pid for pid in found if parent_of(pid) not in found}

    def process(self, part: str) -> int:
        """Returns the pid of the one process that `part` names."""
        (pid,) = self._started(part)
        return pid

    def kill(self, part: str) -> int:
        """Kills the one process that `part` names; gives its pid."""
        pid = self.process(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, part: str, pid: int) -> None:
        """Waits until another process has taken the place of `pid`."""
        eventually(lambda: len(self._started(part)) == 1 and pid not in self._started(part), f"{part} is started again")


@contextmanager
def launched(
    run_dir: Path, arguments: list[str], gate_step: int = -1, errors: Sequence[str] = ()
) -> Iterator[Launched]:
    """Starts the command; at the end kills everything that still runs.

    Args:
        run_dir: of the run that the arguments name.
        arguments: of `pangea`.
        gate_step: every worker stops there, once in the run; -1 for nowhere.
        errors: each error in the services' logs has to contain one of these texts.
    """
    command = Launched(run_dir, arguments, gate_step)
    try:
        yield command
    finally:
        kill(command.child)
        for pid in command.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    assert_no_errors(run_dir, errors)
