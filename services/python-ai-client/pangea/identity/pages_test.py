"""Pages are opened by a certificate and a token, over TLS 1.3, and only those of the process that was asked for."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pangea.identity.authority import Authority
from pangea.identity.holder import CertificateError
from pangea.identity.pages import access
from pangea.identity.store import Store
from pangea.rundir.http_get import PageRefused, get

_TIMEOUT_SECONDS = 30.0


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server with this identity that wants a certificate, its address, and the headers that it was sent."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            known = self.headers.get("Authorization") == f"Bearer {(folder / 'token').read_text()}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b"hello" if known else b"token\x1b[2J missing")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def handle(self) -> None:
            # The client hangs up when it does not like the certificate.
            with suppress(OSError):
                super().handle()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    context.load_verify_locations(folder / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Server(HTTPServer):
        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            connection, address = self.socket.accept()
            return context.wrap_socket(connection, server_side=True), address

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()
        thread.join()


@pytest.fixture
def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def store(tmp_path: Path, now: dt.datetime) -> Store:
    store = Store.new(tmp_path / "authority", "run", 10, now)
    for role, name in (("orchestrator", "main"), ("data", "data-1"), ("viewer", "me")):
        store.issue(role, name, 5, now, tmp_path / role)
    return store


def test_a_viewer_opens_the_pages_of_the_orchestrator(store: Store, tmp_path: Path) -> None:
    with serving(tmp_path / "orchestrator") as (address, seen):
        assert get(address, "/status", _TIMEOUT_SECONDS, access(tmp_path / "viewer")) == b"hello"
    assert seen == [f"Bearer {store.authority.token.decode()}"]


def test_the_token_is_not_sent_to_a_server_of_another_role(store: Store, tmp_path: Path) -> None:
    with (
        serving(tmp_path / "data") as (address, seen),
        pytest.raises(OSError, match="pangea://run/data/data-1, which is not of role orchestrator"),
    ):
        get(address, "/status", _TIMEOUT_SECONDS, access(tmp_path / "viewer"))
    assert seen == []


def test_a_server_of_another_authority_is_refused(store: Store, tmp_path: Path, now: dt.datetime) -> None:
    Authority.new("run", 10, now).issue("orchestrator", "main", 5, now).write(tmp_path / "stranger")
    with serving(tmp_path / "stranger") as (address, seen), pytest.raises(ssl.SSLCertVerificationError):
        get(address, "/status", _TIMEOUT_SECONDS, access(tmp_path / "viewer"))
    assert seen == []


def test_a_revoked_server_is_refused(store: Store, tmp_path: Path, now: dt.datetime) -> None:
    store.revoke("orchestrator", "main", now)
    store.copy_revoked(tmp_path / "viewer")
    with (
        serving(tmp_path / "orchestrator") as (address, seen),
        pytest.raises(ssl.SSLCertVerificationError, match="revoked"),
    ):
        get(address, "/status", _TIMEOUT_SECONDS, access(tmp_path / "viewer"))
    assert seen == []


def test_a_refusal_has_its_status_and_its_reason(store: Store, tmp_path: Path) -> None:
    (tmp_path / "viewer" / "token").write_text("another")
    with serving(tmp_path / "orchestrator") as (address, _seen), pytest.raises(PageRefused, match="status 401, token"):
        get(address, "/status", _TIMEOUT_SECONDS, access(tmp_path / "viewer"))


@pytest.mark.parametrize("token", ["two\nlines", "wörter", "\x00"])
def test_a_token_that_is_none_is_reported(store: Store, tmp_path: Path, token: str) -> None:
    (tmp_path / "viewer" / "token").write_text(token)
    with pytest.raises(CertificateError, match="token is not a token; make it with pangea certs issue"):
        access(tmp_path / "viewer")


def test_a_folder_that_is_none_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="make it with pangea certs issue"):
        access(tmp_path / "missing")


@pytest.mark.parametrize("name", ["authority.pem", "key.pem", "revoked.pem", "token"])
def test_what_has_no_end_is_not_read(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "viewer" / name).unlink(missing_ok=True)
    (tmp_path / "viewer" / name).symlink_to("/dev/zero")
    with pytest.raises(CertificateError, match=f"{name} is not a regular file"):
        access(tmp_path / "viewer")
