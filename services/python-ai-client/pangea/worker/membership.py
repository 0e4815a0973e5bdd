"""A worker's membership in a run: joins it, rejoins it when the connection is lost, and leaves it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pangea import _native
from pangea.contract import MAX_BROKEN_BYTES
from pangea.worker.backoff import Backoff
from pangea.worker.sigterm import Waiting

_log = logging.getLogger("pangea")


def _truncated(text: str) -> str:
    return text.encode()[:MAX_BROKEN_BYTES].decode(errors="ignore")


@dataclass(frozen=True)
class Addresses:
    """The addresses of the services, and how long to wait for them, in seconds.

    Attributes:
        orchestrator: host:port, or `unix:/path|host:port`: the first that answers.
        data: the same of each replica, separated by commas.
        timeout: for the first connection, and for progress within a message.
        reconnect: for a lost service to become reachable again.
        identity: the folder with the worker's certificate, for TLS over TCP; None for no encryption.
    """

    orchestrator: str
    data: str
    timeout: float
    reconnect: float
    identity: str | None = None

    def data_client(self) -> _native.DataClient:
        """Connects to the data service."""
        return _native.DataClient(self.data, self.timeout, reconnect_seconds=self.reconnect, identity=self.identity)


class Membership:
    """The connection of one worker to the orchestrator. A lost one is reopened by `restore`.

    Args:
        addresses: of the services.
        name: of the worker.
        introduce: joins over a new connection; called with it and the ID of the run, which is empty at first.
        resync: called when the orchestrator asks this worker to drop its parameters.
        waiting: entered while nothing but waiting happens.
    Attributes:
        client: the connection.
    """

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        introduce: Callable[[_native.OrchestratorClient, str], _native.JoinReply],
        resync: Callable[[], None],
        waiting: Waiting,
    ) -> None:
        self._addresses, self._name, self._waiting = addresses, name, waiting
        self._introduce, self._resync = introduce, resync
        self._error: _native.WireError | _native.PeerError | None = None
        self._backoff = Backoff(addresses.reconnect)
        self._run_id = ""

    def _join(self, timeout: float) -> _native.JoinReply:
        self.client = _native.OrchestratorClient(
            self._addresses.orchestrator, timeout, identity=self._addresses.identity
        )
        socket, _, remote = self._addresses.orchestrator.partition("|")
        if remote and not self.client.shares_memory():
            _log.warning(
                "%s sends its gradients over TCP to %s, not through shared memory: nothing answers at %s",
                self._name,
                remote,
                socket,
            )
        return self._introduce(self.client, self._run_id)

    def join(self) -> _native.JoinReply:
        """Joins the run. Retries for up to `Addresses.timeout` if the orchestrator dies or asks to retry later."""
        started, backoff = time.monotonic(), Backoff(self._addresses.timeout)
        while True:
            left = self._addresses.timeout - (time.monotonic() - started)
            try:
                reply = self._join(max(left, 1.0))
            except (_native.WireError, _native.PeerError) as error:
                later = error.retry_after if isinstance(error, _native.PeerError) else 0.0
                if isinstance(error, _native.PeerError) and error.action not in ("reconnect", "retryLater"):
                    raise
                if error.kind == "identity":
                    raise
                if time.monotonic() - started >= self._addresses.timeout or not backoff.pause(later):
                    raise
                _log.warning("%s retries to join the run at %s: %s", self._name, self._addresses.orchestrator, error)
                continue
            self._run_id = reply.run_id
            return reply

    def progressed(self) -> None:
        """Notes that the connection led to progress: the next outage is a new one."""
        self._backoff.progressed()

    def lost(self, error: _native.WireError | _native.PeerError) -> None:
        """Records that the connection is lost, or raises the error if a new connection would not fix it."""
        if isinstance(error, _native.PeerError):
            if error.action not in ("reconnect", "retryLater", "resync"):
                raise error
            if error.action == "resync":
                self._resync()
        elif error.kind == "identity":
            raise error
        if not self._backoff.since:
            _log.warning(
                "%s lost the connection to the orchestrator at %s and reconnects: %s",
                self._name,
                self._addresses.orchestrator,
                error,
            )
        self.client.close()
        self._error = error

    def restore(self) -> bool:
        """Rejoins the run if the connection was lost, and returns whether it was.

        Raises:
            WireError: the orchestrator was unreachable for too long; the message has its address and since when.
        """
        was_lost = self._error is not None
        while (error := self._error) is not None:
            with self._waiting:
                again = self._backoff.pause(error.retry_after if isinstance(error, _native.PeerError) else 0.0)
            if not again:
                raise _native.WireError(
                    f"the orchestrator at {self._addresses.orchestrator} has been unreachable since"
                    f" {self._backoff.since}, for more than {self._backoff.limit:g} s: {error}; restart it with the"
                    " run's directory, then the workers, or raise PANGEA_RECONNECT_SECONDS"
                ) from error
            try:
                with self._waiting:
                    self._join(min(self._addresses.timeout, max(self._backoff.remaining, 1.0)))
            except (_native.WireError, _native.PeerError) as again_lost:
                self.lost(again_lost)
                continue
            self._backoff.connected()
            self._error = None
        return was_lost

    def leave(self, reason: str, broken: str = "", *, cannot_load: bool = False) -> None:
        """Leaves the run, which frees the leased shards immediately. An unreachable orchestrator notices by itself.

        Args:
            reason: shown to users.
            broken: how the script breaks the promise of the same bits; empty if the reason is a different one.
            cannot_load: the state that was received cannot be loaded.
        """
        with suppress(_native.WireError, _native.PeerError):
            self.client.leave(reason, _truncated(broken), cannot_load=cannot_load)

    def close(self) -> None:
        """Closes the connection."""
        self.client.close()
