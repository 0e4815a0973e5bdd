"""The same stack as local processes, kept alive by `pangea train`."""

from __future__ import annotations

import json
import pathlib
import shutil
import signal
import subprocess
import time

from tools.setup.commands import Commands, StepFailed, tail
from tools.setup.stack import Deployed

# Until the services listen: torch is not loaded by then, but a cold machine is slow.
_READY_SECONDS = 120
_STOP_SECONDS = 60


class ProcessStack:
    """Two workers, the orchestrator and the data service on this machine."""

    parts = "programs"

    def __init__(self, commands: Commands, folder: pathlib.Path, epochs: int) -> None:
        self._commands, self._run, self._epochs = commands, folder / "run", epochs
        self._process: subprocess.Popen[bytes] | None = None

    def validate(self) -> str:
        """Nothing but what the door looks at."""
        return "local processes, no container engine needed"

    def build(self) -> str:
        """Builds the programs."""
        self._commands.run("build", ["./bazelw", "build", "//:pangea", "//services/go-orchestrator", "//services/rust-compute"])
        return "the command and both services"

    def deploy(self) -> Deployed:
        """Starts the run, and waits until both services listen."""
        words = ["./bazelw", "run", "//:pangea", "--", "train", "--workers", "2", "--epochs", str(self._epochs), "--run-dir", str(self._run)]
        self._process, log = self._commands.start("train", words)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StepFailed(f"`pangea train` ended with {self._process.returncode}", self._process.returncode or 1, log)
            orchestrator, data = self._ports("go-orchestrator"), self._ports("rust-compute")
            if orchestrator and data:
                # ./bazelw replaces itself by the program that it runs, so this is the number of `pangea train` itself.
                killer = f"python3 {pathlib.Path(__file__).with_name('kill_child.py')} {self._process.pid}"
                return Deployed(self._run, orchestrator["http"], data["http"], [f"{killer} {word}" for word in ("digits.py", "go-orchestrator", "rust-compute")])
            time.sleep(0.2)
        raise StepFailed(f"the services do not listen after {_READY_SECONDS} s", log=log)

    def _ports(self, service: str) -> dict[str, str]:
        """The addresses that a service wrote; empty if it has not yet."""
        file = self._run / "logs" / f"{service}.ports.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

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
