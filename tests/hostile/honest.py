"""A worker that does what it should, and has to be served while others do not."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import Any

from schemas import tensor_capnp
from tests.hostile.frames import NO_HASH, frame, hash_at, join


class Honest:
    """A worker of a run with one shard a step, over TCP.

    Attributes:
        step: how many steps its parameters have.
        seconds: how long each of its steps took.
    """

    def __init__(self, address: tuple[str, int], name: str = "honest", secure: ssl.SSLContext | None = None) -> None:
        self._connection = socket.create_connection(address, timeout=60)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure is not None:
            self._connection = secure.wrap_socket(self._connection)
        self._request = 1
        self.step = 0
        self.seconds: list[float] = []
        self._connection.sendall(join(name))
        self.joined = self._receive("joinReply")

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def train(self, steps: int) -> None:
        """Makes that many steps."""
        for _ in range(steps):
            began = time.monotonic()
            lease = self.ask("shardLease")
            self.submit(lease["step"], 1.0)
            self.ask("aggregate")
            self.step += 1
            self.seconds.append(time.monotonic() - began)

    def ask(self, expected: str) -> dict[str, Any]:
        """Asks for work, and gives the answer, which must be of that type."""
        self._send("workRequest", step=self.step, parametersHash=hash_at(self.step))
        return self._receive(expected)

    def submit(self, step: int, value: float) -> dict[str, Any]:
        """Sends the gradient of the only shard of a step; gives the answer to it."""
        gradient = {"name": "weight", "dtype": "float32", "shape": [4], "data": struct.pack("<4f", *[value] * 4)}
        report = {"samples": 1, "weight": 1.0, "lossSum": 1.0, "batchHash": NO_HASH}
        self._send("gradientUpdate", step=step, shardCount=1, gradients=[gradient], reports=[report], final=True)
        return self._receive("gradientAck")

    def _send(self, kind: str, **fields: Any) -> None:
        self._request += 1
        self._connection.sendall(frame(kind, self._request, **fields))

    def _receive(self, expected: str) -> dict[str, Any]:
        message = receive(self._connection)
        assert message["type"] == expected, message
        return dict(message[expected])


def receive(connection: socket.socket) -> dict[str, Any]:
    """The next message of a connection. Raises EOFError when it was closed."""
    first = _exactly(connection, 4)
    segments = struct.unpack("<I", first)[0] + 1
    table = first + _exactly(connection, (segments // 2 + 1) * 8 - 4)
    sizes = struct.unpack_from(f"<{segments}I", table, 4)
    whole = table + _exactly(connection, 8 * sum(sizes))
    with tensor_capnp.Message.from_bytes(whole) as message:
        return dict(message.to_dict())


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
