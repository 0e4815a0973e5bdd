"""A service as a process, and what it takes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.processes.waiting import eventually

MIB = 1 << 20


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        process: its process.
        listen: host and port for workers.
        http: host and port of its pages.
        log: the file that it logs to.
        folder: of its files.
    """

    process: subprocess.Popen[bytes]
    listen: tuple[str, int]
    http: tuple[str, int]
    log: Path
    folder: Path

    def peak_bytes(self) -> int:
        """The most memory that it had at a time (VmHWM)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"the service has ended with {self.process.poll()}:\n{self.log.read_text()[-2000:]}")

    def processor_seconds(self) -> float:
        """How long it has computed."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def note(self, seconds: list[float]) -> None:
        """Leaves figures of this test for docs/reference/hostile-inputs.md, where the build collects outputs."""
        folder = os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR")
        if folder:
            test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].rpartition("::")[2]
            mib, usual, worst = self.peak_bytes() >> 20, statistics.median(seconds) * 1000, max(seconds) * 1000
            with (Path(folder) / "figures.tsv").open("a") as file:
                file.write(f"{test}\t{mib} MiB\t{usual:.1f} ms\t{worst:.0f} ms\n")

    def log_bytes(self) -> int:
        """How much it has logged."""
        return self.log.stat().st_size

    def assert_alive(self) -> None:
        """Fails if the service has ended."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]


@contextmanager
def started(
    folder: Path, command: list[str], http: str = "127.0.0.1:0", before: Callable[[], None] | None = None
) -> Iterator[Service]:
    """Starts a service on free ports; `command` is its program and its flags but for the addresses.

    `before` is called in its process before the program starts.
    """
    ports, log = folder / "ports.json", folder / "service.log"
    addresses = ["--listen=127.0.0.1:0", f"--http={http}", f"--port-file={ports}"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *addresses], stdout=output, stderr=output, preexec_fn=before)
    try:

        def ready() -> dict[str, Any] | None:
            assert process.poll() is None, log.read_text()
            return json.loads(ports.read_text()) if ports.exists() else None

        found = eventually(ready, "the service is ready")
        assert found is not None
        yield Service(process, _address(found["listen"]), _address(found["http"]), log, folder)
    finally:
        process.kill()
        process.wait()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
