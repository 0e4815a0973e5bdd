"""A worker's HTTP probes: /healthz (alive), /readyz (has joined a run), /metrics (Prometheus text)."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from pangea.errors import PangeaError
from pangea.identity.directory import INSECURE_VARIABLE, VARIABLE, configured, insecure
from pangea.identity.serving import PageCertificate
from pangea.rundir.http_get import is_loopback

if TYPE_CHECKING:
    from socketserver import _AfInetAddress as _Address
    from socketserver import _RequestType as _Request

    from pangea.worker.worker import Worker

# Threads that answer at a time, and how long one waits for the next bytes of a request.
_HANDLERS = 8
_TIMEOUT_SECONDS = 5.0


def _figures(worker: Worker | None) -> str:
    """Returns the text of /metrics; a worker that has not joined is at step 0 and has no replicas."""
    replicas = [connected for _, connected in worker.data.replicas()] if worker is not None else []
    figures = {
        "step": worker.step if worker is not None else 0,
        "joined": int(worker is not None),
        "data_replicas": len(replicas),
        "connected_data_replicas": sum(replicas),
    }
    return "".join(
        f"# TYPE pangea_worker_{name} gauge\npangea_worker_{name} {value}\n" for name, value in figures.items()
    )


class _Server(ThreadingHTTPServer):
    """Answers a few requests at a time: when there are more, the oldest connection makes room.

    A probe takes a millisecond, so whoever still has a connection by then only holds it. Without the limit each would
    be a thread of the process that trains.
    """

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], certificate: PageCertificate | None
    ) -> None:
        self._certificate = certificate
        self._places = threading.BoundedSemaphore(_HANDLERS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}  # in order of arrival
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, _Address]:
        connection, address = super().get_request()
        return connection if self._certificate is None else self._certificate.secure(connection), address

    def finish_request(self, request: _Request, client_address: _Address) -> None:
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(_TIMEOUT_SECONDS)
            request.do_handshake()
        super().finish_request(request, client_address)

    def process_request(self, request: _Request, client_address: _Address) -> None:
        assert isinstance(request, socket.socket)
        if not self._places.acquire(blocking=False):
            self._close_oldest()
            self._places.acquire()
        with self._lock:
            self._open[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: _Request, client_address: _Address) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def shutdown_request(self, request: _Request) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def _close_oldest(self) -> None:
        """Ends the wait of the handler that has waited longest."""
        with self._lock:
            for oldest in list(self._open)[:1]:
                del self._open[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: _Request, client_address: _Address) -> None:
        """Says nothing: a connection that ends early is not this process's trouble."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server


class OpenToOthersError(PangeaError):
    """Other machines would reach the pages of a process that has no identity."""


class HealthServer:
    """Serves the probes on one address, in a thread, until the process ends, also before and after a run.

    Args:
        address: host:port, with an IPv6 host in brackets; port 0 selects a free one.
        certificate: serves them over TLS; None to serve them as they are.
    Attributes:
        worker: the worker that has joined a run; None before and after.
    """

    def __init__(self, address: str, certificate: PageCertificate | None = None) -> None:
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        self.worker: Worker | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_SECONDS

            def do_GET(self) -> None:
                status, text = server._answer(self.path)
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Logs nothing: probes arrive every few seconds."""

        try:
            self._server = _server(host)((host, int(port)), Handler, certificate)
        except (OSError, ValueError, OverflowError) as error:
            raise OSError(
                f"cannot serve health on PANGEA_HTTP={address}: {error}; choose another port, or 0 for a free one"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="pangea-health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    def _answer(self, path: str) -> tuple[int, str]:
        worker = self.worker
        if path == "/healthz":
            return 200, "ok\n"
        if path == "/readyz":
            return (200, "ok\n") if worker is not None else (503, "has not joined a run\n")
        if path == "/metrics":
            return 200, _figures(worker)
        return 404, "not found; available are /healthz, /readyz and /metrics\n"


# Cached by address: `pangea worker` starts the server before the script, which may join several runs, one after the
# other.
@functools.cache
def _serve(address: str) -> HealthServer:
    return HealthServer(address, _certificate_for(address))


def _certificate_for(address: str) -> PageCertificate | None:
    """The certificate of this process if other machines reach the address."""
    if is_loopback(address) or not address.rpartition(":")[0]:
        return None
    identity = configured(os.environ)
    if identity is None and not insecure(os.environ):
        raise OpenToOthersError(
            f"PANGEA_HTTP={address} can be reached from other machines, and this process has no identity: name one with"
            f" --identity DIR ({VARIABLE}), made with `pangea certs`, listen on 127.0.0.1, or let everybody read the"
            f" pages with {INSECURE_VARIABLE}=1"
        )
    return PageCertificate(identity) if identity is not None else None


def serve_health() -> HealthServer | None:
    """Returns the server on the address in PANGEA_HTTP, started on the first call; None if the variable is not set.

    Raises:
        OSError: it cannot listen there; the message says what to do.
        OpenToOthersError, CertificateError: it may not, or its identity cannot be used.
    """
    address = os.environ.get("PANGEA_HTTP")
    return _serve(address) if address else None
