"""The probes of a worker cost the process that trains a bounded number of threads, whoever connects."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import threading
import urllib.request
from pathlib import Path

import pytest

from pangea.identity.holder import CertificateError, Role
from pangea.identity.pages import WrongServer, access
from pangea.identity.serving import PageCertificate
from pangea.identity.store import Store
from pangea.rundir.http_get import get
from pangea.worker import probes
from pangea.worker.probes import HealthServer, OpenToOthersError, serve_health


def test_silent_connections_take_few_threads_and_keep_no_probe_out() -> None:
    before = threading.active_count()
    server = HealthServer("127.0.0.1:0")
    silent = []
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"GET /healthz HTT")
        silent.append(connection)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=20) as answer:
        assert answer.read() == b"ok\n"
    # The server's own thread, its handlers, and one that is about to end.
    assert threading.active_count() <= before + 1 + 8 + 1
    for connection in silent:
        connection.close()


def test_a_silent_connection_ends_by_itself() -> None:
    server = HealthServer("127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""


@pytest.fixture(autouse=True)
def another_process() -> None:
    """As if each test were the first to serve its address."""
    probes._serve.cache_clear()


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """The identity directory of a worker; its authority and that of a viewer are beside it."""
    now = dt.datetime.now(dt.UTC)
    Store.new(tmp_path / "authority", "run", 1, now)
    with Store.open(tmp_path / "authority") as store:
        store.issue("worker", "w", 1, now, tmp_path / "w")
    return tmp_path / "w"


def test_beyond_the_loopback_pages_are_encrypted(identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_HTTP", "0.0.0.0:0")
    monkeypatch.setenv("PANGEA_IDENTITY", str(identity))
    server = serve_health()
    assert server is not None
    address = f"127.0.0.1:{server.port}"
    assert get(address, "/healthz", 20, access(identity, Role.WORKER)) == b"ok\n"
    with pytest.raises(WrongServer):
        get(address, "/healthz", 20, access(identity, Role.ORCHESTRATOR))
    with pytest.raises((OSError, http.client.HTTPException)):
        get(address, "/healthz", 20)
    # Handshakes that do not end keep no probe out.
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for connection in silent[::2]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
    assert get(address, "/healthz", 20, access(identity, Role.WORKER)) == b"ok\n"
    for connection in silent:
        connection.close()


def test_a_renewed_certificate_is_used(identity: Path) -> None:
    server = HealthServer("127.0.0.1:0", PageCertificate(identity))

    def served() -> str:
        context = ssl.create_default_context(cafile=str(identity / "authority.pem"))
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", server.port), 20) as plain, context.wrap_socket(plain) as secured:
            return str((secured.getpeercert() or {})["serialNumber"])

    before = served()
    with Store.open(identity.parent / "authority") as store:
        store.renew(identity, 1, dt.datetime.now(dt.UTC))
    assert served() != before
    (identity / "certificate.pem").write_text("half")
    served()


def test_without_an_identity_nobody_else_sees_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANGEA_IDENTITY", raising=False)
    monkeypatch.setenv("PANGEA_HTTP", "[::]:0")
    monkeypatch.setenv("PANGEA_INSECURE", "0")
    with pytest.raises(OpenToOthersError, match="can be reached from other machines"):
        serve_health()
    monkeypatch.setenv("PANGEA_INSECURE", "1")
    server = serve_health()
    assert server is not None
    assert get(f"[::1]:{server.port}", "/healthz", 20) == b"ok\n"


def test_an_identity_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_IDENTITY", str(tmp_path))
    monkeypatch.setenv("PANGEA_HTTP", "0.0.0.0:0")
    with pytest.raises(CertificateError, match=f"the identity in {tmp_path} cannot be used"):
        serve_health()
