"""HTTP requests to Pangea's own processes.

They are on this machine or in its network, so proxies of the environment are not used. A page beyond the loopback
speaks TLS; the identity that opens it is in `Access`.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass

# Longer answers are not pages of Pangea: a status names at most a few thousand workers.
_MAX_BYTES = 16 << 20


class PageRefused(OSError):
    """A page answered with an error; the message has its status and its reason.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}, {reason}" if reason else f"status {status}")
        self.status = status

    @property
    def unknown_reader(self) -> bool:
        """Whether the page wants to know who asks: by TLS, a certificate or a token."""
        return self.status in (http.client.BAD_REQUEST, http.client.UNAUTHORIZED, http.client.FORBIDDEN)


@dataclass(frozen=True)
class Access:
    """What opens the pages of a run.

    Attributes:
        context: of TLS, with the run's authority; None to speak plain HTTP.
        token: for the header Authorization; empty for none.
        check: called with the server's certificate, as `ssl` describes it, before anything is sent. Raises OSError for
            a server that is not one of the run.
    """

    context: ssl.SSLContext | None = None
    token: str = ""
    check: Callable[[dict[str, object]], None] | None = None


OPEN = Access()
"""For pages on the loopback, which anyone on this machine may read."""


def get(address: str, path: str, timeout: float, access: Access = OPEN) -> bytes:
    """The body of the page `path` of the process at `address`, host:port.

    Raises:
        OSError: there is no answer within `timeout` seconds, or its status is an error (PageRefused).
        http.client.HTTPException, ValueError: the answer is not HTTP, or `address` is not an address.
    """
    if access.context is None:
        return _get(http.client.HTTPConnection(address, timeout=timeout), path, OPEN)
    try:
        return _get(http.client.HTTPSConnection(address, timeout=timeout, context=access.context), path, access)
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, ConnectionError):
        # On the loopback a process speaks plain HTTP, whatever its identity; there are no strangers between.
        if not is_loopback(address):
            raise
        return _get(http.client.HTTPConnection(address, timeout=timeout), path, OPEN)


def is_loopback(address: str) -> bool:
    """Whether host:port, or a host, can only be reached from the same machine."""
    host = address if address.count(":") != 1 and not address.startswith("[") else address.rpartition(":")[0]
    host = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _get(connection: http.client.HTTPConnection, path: str, access: Access) -> bytes:
    try:
        connection.connect()
        if access.check is not None and isinstance(connection.sock, ssl.SSLSocket):
            access.check(dict(connection.sock.getpeercert() or {}))
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
        if response.status != http.client.OK:
            raise PageRefused(response.status, body[:200].decode(errors="replace").strip())
        return body
    finally:
        connection.close()
