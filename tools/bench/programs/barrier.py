"""A barrier between the processes of one job, over a Unix socket. It imports nothing that takes seconds to load."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

_TICK_SECONDS = 0.001


class Barrier:
    """The program with rank 0 listens, the others connect. Creating it waits for all of them."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Takes the job's `folder`, `rank` and `world`."""
        self._first = job["rank"] == 0
        # A path of a socket has at most 107 bytes, which folders of tests exceed.
        folder = os.open(job["folder"], os.O_DIRECTORY | os.O_PATH)
        place = Path(f"/proc/self/fd/{folder}/barrier")
        self._others = _accept(place, job["world"] - 1) if self._first else [_connect(place)]
        os.close(folder)
        # Rank 0 is there when the others connect; they also have to know of each other.
        self.wait()

    def wait(self) -> None:
        """Waits until all are here.

        Raises:
            ConnectionError: one of them has ended.
        """
        if not self._first:
            self._others[0].sendall(b"x")
        for connection in self._others:
            if not connection.recv(1):
                raise ConnectionError("a program of this job has ended before the others")
        if self._first:
            for connection in self._others:
                connection.sendall(b"x")


def _accept(place: Path, count: int) -> list[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        # The name appears when it can be connected to, not before.
        new = place.with_name("barrier.new")
        listener.bind(str(new))
        listener.listen(max(count, 1))
        new.rename(place)
        return [listener.accept()[0] for _ in range(count)]


def _connect(place: Path) -> socket.socket:
    while not place.exists():
        time.sleep(_TICK_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(place))
    return connection
