"""A worker that asks the data service for batches, and has to be served while others ask for too much."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from tests.hostile.frames import frame
from tests.hostile.honest import receive

# A batch takes milliseconds.
WORST_SECONDS = 20.0


def batch_request(number: int, seed: int, **changes: Any) -> bytes:
    """A BatchRequest for one small batch of an epoch."""
    given = {"seed": seed, "epoch": 0, "step": number % 1000, "shard": 0, "batchSize": 64, "shards": 1}
    return frame("batchRequest", number, **{**given, **changes})


class DataWorker:
    """A worker that asks for one batch after the other, and connects again when its connection has ended.

    Attributes:
        seconds: how long each batch took.
    """

    def __init__(self, address: tuple[str, int], secure: ssl.SSLContext | None = None) -> None:
        self._address, self._secure = address, secure
        self._connection = self._connect()
        self._number = 0
        self.seconds: list[float] = []

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=60)
        return plain if self._secure is None else self._secure.wrap_socket(plain)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def train(self, batches: int) -> None:
        """Gets that many batches."""
        for _ in range(batches):
            self.ask()

    def ask(self) -> None:
        """Gets the next batch."""
        self._number += 1
        began = time.monotonic()
        while (message := self._exchange()) is None:
            # Its place was needed while it was idle, or there is none just now.
            assert time.monotonic() < began + WORST_SECONDS, "no place for a worker"
            self._connection.close()
            self._connection = self._connect()
        assert message["type"] == "trainingBatch", message
        assert message["requestId"] == self._number
        self.seconds.append(time.monotonic() - began)

    def _exchange(self) -> dict[str, Any] | None:
        """The answer to the request; none if it is to be asked again on a new connection."""
        try:
            self._connection.sendall(self._request())
            message = receive(self._connection)
        except (EOFError, ConnectionError):
            return None
        again = message["type"] == "errorReply" and message["errorReply"]["action"] == "retryLater"
        return None if again else message

    def _request(self) -> bytes:
        return batch_request(self._number, seed=1, step=self._number % 100)
