"""`pangea train` as a process, with workers that wait at a gate until the test lets them go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pangea.children import Child
from pangea.places import python_environment
from pangea.status import read_status
from tests.harness.service_logs import assert_no_errors
from tests.harness.cluster import SCRIPT, Cluster, undisturbed
from tools.processes.waiting import eventually

# Of every run here: 1,438 samples in batches of 256 are 6 steps an epoch.
EPOCHS, STEPS = 2, 12
_ARITHMETIC = {"epochs": EPOCHS, "batch_size": 256, "shards": 8}


def alone(folder: Path, epochs: int = EPOCHS) -> Cluster:
    """The same run with one worker and nothing that happens to it."""
    return undisturbed(folder, **{**_ARITHMETIC, "epochs": epochs})


def new_run(run_dir: Path, *options: str) -> list[str]:
    """Arguments of `pangea train` for a run of the same arithmetic."""
    words = [text for name, value in _ARITHMETIC.items() for text in ("--" + name.replace("_", "-"), str(value))]
    return ["train", str(SCRIPT), *words, "--seed", "5", "--run-dir", str(run_dir), *options]


class Launched:
    """The command, running."""

    def __init__(self, run_dir: Path, arguments: list[str], gate_step: int = -1, environment: Mapping[str, str] | None = None) -> None:
        """Args:
        run_dir: of the run that the arguments name.
        arguments: of `pangea`.
        gate_step: every worker stops there, once in the run; -1 for nowhere.
        environment: further variables.
        """
        self.run_dir, self._gates, self._computed = run_dir, run_dir.parent / "gates", run_dir.parent / "computed"
        shutil.rmtree(self._computed, ignore_errors=True)
        for folder in (self._gates, self._computed):
            folder.mkdir(exist_ok=True)
        variables = {**python_environment(), "GATE_STEP": str(gate_step), "GATE_DIR": str(self._gates), "COMPUTED_DIR": str(self._computed), **(environment or {})}
        self.child = Child("pangea", [sys.executable, "-m", "pangea", *arguments], run_dir.parent / "pangea.log", variables)

    @property
    def output(self) -> str:
        """All that it has said; not what earlier commands have."""
        return "\n".join(self.child.output())

    def computed(self) -> set[int]:
        """The steps of which this command's workers have computed something."""
        return {int(line) for file in self._computed.iterdir() for line in file.read_text().split()}

    def wait_steps(self, steps: int) -> None:
        """Until so many are in metrics.jsonl."""

        def there() -> bool:
            assert self.child.exit_code() is None, self.output
            return (self.run_dir / "metrics.jsonl").exists() and len(self.metrics()) >= steps

        eventually(there, f"{steps} steps are done")

    def wait_mid_step(self, workers: int) -> None:
        """Until so many workers have joined, and one has stopped in the middle of the gate's step; the others may wait for it."""

        def there() -> bool:
            assert self.child.exit_code() is None, self.output
            return bool(list(self._gates.glob("*.reached"))) and len(read_status(str(self.run_dir), self.run_dir)["workers"]) == workers

        eventually(there, f"{workers} workers join, and one reaches its gate")

    def open_gates(self) -> None:
        """Lets all workers go on, also those that come later."""
        for number in range(1, 10):
            (self._gates / f"worker-{number}.open").touch()

    def wait_exit(self, code: int) -> str:
        """Until the command has ended, with this exit code; gives what it said."""
        ended = eventually(lambda: (self.child.exit_code(),) if self.child.exit_code() is not None else None, "the command ends")
        assert ended[0] == code, f"it ended with {ended[0]}:\n{self.output}"
        return self.output

    def processes(self, part: str = "") -> dict[int, str]:
        """The run's own processes whose command or name holds `part`: pid to command."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            # It may end while it is looked at.
            with suppress(OSError):
                command, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
                ours = str(self.run_dir).encode() in command or f"PANGEA_RUN_DIR={self.run_dir}\0".encode() in variables
                if ours and (part.encode() in command or f"PANGEA_WORKER_NAME={part}\0".encode() in variables):
                    found[int(entry.name)] = command.decode(errors="replace")
        return found

    def _started(self, part: str) -> set[int]:
        """Those that the command has started itself: a worker that rehearses a shard has a fork for a while."""
        found = {*self.processes(part)}
        return {pid for pid in found if parent_of(pid) not in found}

    def kill(self, part: str) -> int:
        """Kills the one process that `part` names; gives its pid."""
        (pid,) = self._started(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, part: str, pid: int) -> None:
        """Until there is one such process again, another one."""
        eventually(lambda: len(self._started(part)) == 1 and pid not in self._started(part), f"{part} is started again")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]

    def hashes(self) -> list[str]:
        """params_hash after each step."""
        lines = self.metrics()
        assert [line["step"] for line in lines] == list(range(len(lines))), "a gap in the steps"
        return [line["params_hash"] for line in lines]

    def final(self) -> bytes:
        """The bytes of the trained weights."""
        return (self.run_dir / "final.safetensors").read_bytes()


def parent_of(pid: int) -> int:
    """Its pid; 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@contextmanager
def launched(run_dir: Path, arguments: list[str], gate_step: int = -1, errors: Sequence[str] = (), **environment: str) -> Iterator[Launched]:
    """Starts the command; at the end kills what is still there. Errors in the services' logs have to hold one of the texts in `errors`."""
    command = Launched(run_dir, arguments, gate_step, environment)
    try:
        yield command
    finally:
        command.child.process.kill()
        command.child.process.wait()
        for pid in command.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    assert_no_errors(run_dir, errors)
