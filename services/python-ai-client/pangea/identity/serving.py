"""Serves the pages of a process over TLS, with the certificate of its identity directory as it is renewed."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from pangea.identity.directory import CERTIFICATE, KEY, check_files
from pangea.identity.holder import CertificateError


class PageCertificate:
    """The certificate that pages are served with. Who reads them needs none: what they have is open to everyone.

    Args:
        folder: the identity directory.
    Raises:
        CertificateError: its files cannot be used; the message says why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        # A session that is resumed would outlive the certificate that it began with.
        self._context.num_tickets = 0
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"the identity in {folder} cannot be used: {error}; make it with pangea certs issue"
            ) from error

    def _load(self) -> None:
        self._stamp = self._stamp_now()
        check_files(self._folder)
        # A password that nobody is there to type.
        self._context.load_cert_chain(self._folder / CERTIFICATE, self._folder / KEY, password="")

    def _stamp_now(self) -> tuple[int, int]:
        found = (self._folder / CERTIFICATE).stat()
        return found.st_mtime_ns, found.st_ino

    def secure(self, connection: socket.socket) -> ssl.SSLSocket:
        """The encrypted side of a connection that was accepted. Its handshake, which may wait, is the caller's.

        Raises:
            OSError: the connection has ended.
        """
        # In the middle of being replaced, the old files stay in use.
        with contextlib.suppress(OSError, ValueError):
            if self._stamp != self._stamp_now():
                self._load()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
