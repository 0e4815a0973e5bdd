"""Certificates: those of a run, and those that a stranger makes."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pangea.identity.authority import key_pem, pem
from pangea.identity.store import Store

_DAY = dt.timedelta(days=1)


class Run:
    """The authority of a run.

    Attributes:
        folder: has the identity directories of its processes, by their names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._now = folder, dt.datetime.now(dt.UTC)
        Store.new(folder / "authority", "run", 365, self._now - _DAY)
        for role, name in (("orchestrator", "leads"), ("data", "serves"), ("worker", "honest"), ("viewer", "looks")):
            with Store.open(folder / "authority") as store:
                store.issue(role, name, 1, self._now, folder / name)

    def client(self, name: str) -> ssl.SSLContext:
        """How a process of the run connects."""
        context = anybody()
        context.load_cert_chain(self.folder / name / "certificate.pem", self.folder / name / "key.pem")
        return context

    def stranger(self, folder: Path, certificates: int, key_bits: int = 256) -> ssl.SSLContext:
        """How somebody connects with a certificate of no authority, and others that could have signed it."""
        curve = {256: ec.SECP256R1, 521: ec.SECP521R1}[key_bits]()
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        signer, own = ec.generate_private_key(curve), ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(x509.Name([]), issuer, own.public_key(), signer, ca=False)
        # All of one name, none of them the one that has signed the first: each has to be tried.
        issuers = [self._sign(issuer, issuer, ec.generate_private_key(curve).public_key(), signer, ca=True)]
        issuers *= certificates - 1
        folder.mkdir(parents=True)
        (folder / "chain.pem").write_bytes(b"".join(pem(one) for one in [leaf, *issuers]))
        (folder / "key.pem").write_bytes(key_pem(own))
        context = anybody()
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        return context

    def _sign(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _DAY)
            .not_valid_after(self._now + _DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )


def anybody() -> ssl.SSLContext:
    """How somebody without a certificate connects, to whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
