"""The cache under test: the command that a team runs, on free ports of the loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cache.clone import BuildError
from tools.processes.ports import free_ports
from tools.processes.waiting import eventually

STARTING_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running cache.

    Attributes:
        reader_lines, writer_lines: for a user.bazelrc, as the command printed them.
        http: base URL of its HTTP interface.
    """

    http: str
    reader_lines: list[str]
    writer_lines: list[str]

    def entries(self) -> int:
        """The number of blobs and results in the cache."""
        with urllib.request.urlopen(f"{self.http}/status", timeout=30) as response:
            return int(json.load(response)["NumFiles"])

    def put(self, kind: str, authorization: str | None) -> int:
        """The status of an HTTP request that writes a blob (`cas`) or a result (`ac`)."""
        blob = f"written by {authorization} as {kind}".encode()
        request = urllib.request.Request(
            f"{self.http}/{kind}/{hashlib.sha256(blob).hexdigest()}", data=blob if kind == "cas" else b"", method="PUT"
        )
        if authorization:
            request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    @property
    def write_authorization(self) -> str:
        """The writer's header, from its lines."""
        return self.writer_lines[-1].split("authorization=")[1].rstrip('"')


@contextlib.contextmanager
def serving(program: Path, folder: Path) -> Iterator[Server]:
    """Starts the cache and waits until it answers; stops it in the end.

    Raises:
        BuildError: it does not answer.
    """
    port, http_port = free_ports(2)
    options = [f"--dir={folder / 'cache'}", f"--port={port}", f"--http-port={http_port}"]
    writer_lines = _indented(
        subprocess.run(
            _command(program, *options, "--add-writer=ci"), capture_output=True, text=True, check=True
        ).stdout
    )
    log = folder / "cache.log"
    with log.open("w") as output:
        process = subprocess.Popen(_command(program, *options), stdout=output, stderr=subprocess.STDOUT)
    try:
        http = f"http://127.0.0.1:{http_port}"
        _wait_until_it_answers(http, process, log)
        yield Server(http, _indented(log.read_text()), writer_lines)
    finally:
        process.terminate()
        process.wait()


def _command(program: Path, *options: str) -> list[str]:
    return [os.environ.get("PANGEA_PYTHON", sys.executable), "-m", "tools.dev.cache", f"--program={program}", *options]


def _indented(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def _wait_until_it_answers(http: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise BuildError(f"the cache ended with {process.returncode}; it printed:\n{log.read_text()}")
        try:
            urllib.request.urlopen(f"{http}/status", timeout=5).close()
        except OSError:
            return False
        return True

    try:
        eventually(answers, f"the cache answers on {http}", STARTING_SECONDS)
    except TimeoutError as error:
        raise BuildError(f"{error}; it printed:\n{log.read_text()}") from error
