"""The machine's certificate authorities in the one format that Java reads without help (JKS).

Debian's Java gets its store from a maintainer script, which never runs in our root; without it Bazel's own downloader trusts nobody.
Format: the Java KeyStore as written by sun.security.provider.JavaKeyStore.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import ssl
import struct

PASSWORD = "changeit"  # Java's own default; the store holds nothing secret


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def jks(certificates: list[bytes]) -> bytes:
    """A key store of trusted certificates, given in DER."""
    body = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, der in enumerate(certificates):
        body += (
            struct.pack(">I", 2)
            + _text(f"ca{number}")
            + struct.pack(">Q", 0)
            + _text("X.509")
            + struct.pack(">I", len(der))
            + der
        )
    return body + hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def write_truststore(bundle: pathlib.Path, store: pathlib.Path) -> None:
    """Makes `store` from a PEM `bundle`, unless it is there and newer."""
    if store.exists() and store.stat().st_mtime >= bundle.stat().st_mtime:
        return
    blocks = re.findall(
        r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", bundle.read_text(errors="replace"), re.DOTALL
    )
    staging = store.with_suffix(f".{os.getpid()}")
    staging.write_bytes(jks([ssl.PEM_cert_to_DER_cert(block) for block in blocks]))
    staging.rename(store)
