"""The same stack as local processes, kept alive by `pangea train`."""

from __future__ import annotations

import json
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys

from tools.processes.waiting import eventually
from tools.setup.commands import Commands, StepFailed, tail
from tools.setup.stack import Deployed

# Until the services listen: torch is not loaded by then, but a cold machine is slow.
_READY_SECONDS = 120
_STOP_SECONDS = 60
_KILL = pathlib.Path(__file__).with_name("kill_child.py")


class ProcessStack:
    """Two workers, the orchestrator and the data service on this machine."""

    parts = "programs"

    def __init__(self, commands: Commands, folder: pathlib.Path, epochs: int) -> None:
        self._commands, self._run, self._epochs = commands, folder / "run", epochs
        self._process: subprocess.Popen[bytes] | None = None

    def validate(self) -> str:
        """Nothing beyond what ./bazelw checks."""
        return "local processes, no container engine needed"

    def build(self) -> str:
        """Builds the programs."""
        self._commands.run(
            "build", ["./bazelw", "build", "//:pangea", "//services/go-orchestrator", "//services/rust-compute"]
        )
        return "the command and both services"

    def deploy(self) -> Deployed:
        """Starts the run, and waits until both services listen."""
        words = [
            "./bazelw",
            "run",
            "//:pangea",
            "--",
            "train",
            "--workers",
            "2",
            "--epochs",
            str(self._epochs),
            "--run-dir",
            str(self._run),
        ]
        process, log = self._commands.start("train", words)
        self._process = process

        def pages() -> list[str]:
            """The host:port of the pages of both services; none before both listen."""
            if process.poll() is not None:
                raise StepFailed(f"`pangea train` exited with {process.returncode}", process.returncode or 1, log)
            files = [self._run / "logs" / f"{service}.ports.json" for service in ("go-orchestrator", "rust-compute")]
            return (
                [json.loads(file.read_text())["http"] for file in files] if all(file.exists() for file in files) else []
            )

        try:
            orchestrator, data = eventually(pages, "both services listen", _READY_SECONDS)
        except TimeoutError as error:
            raise StepFailed(str(error), log=log) from error
        # ./bazelw replaces itself by the program that it runs, so this is the process ID of `pangea train` itself.
        killer = [sys.executable, str(_KILL), str(process.pid)]
        return Deployed(
            self._run,
            orchestrator,
            data,
            "",
            [shlex.join([*killer, word]) for word in ("digits.py", "go-orchestrator", "rust-compute")],
        )

    def logs(self) -> str:
        """The newest lines of every process."""
        return "\n".join(f"== {log.stem}\n{tail(log, 5)}" for log in sorted((self._run / "logs").glob("*.log")))

    def remove(self) -> None:
        """Stops the run and deletes its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._run, ignore_errors=True)

    def how_to_remove(self) -> str:
        """A command for a shell, and where files are left."""
        return (
            f"kill {self._process.pid}; its files are in {self._run}" if self._process is not None else "there is none"
        )
