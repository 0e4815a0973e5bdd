"""The authority of a run: makes, renews and revokes certificates. It exists in memory; `store.py` keeps it in a folder.

ECDSA keys on P-256, and certificates that say in one URI who their holder is.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pangea.identity.directory import Identity
from pangea.identity.holder import CertificateError, Holder

AUTHORITY_DAYS = 365
# Short, because a certificate that was copied is of use for as long. Renewing it keeps the key and restarts nothing.
CERTIFICATE_DAYS = 30
# Clocks of machines differ.
_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """The authority of one run.

    Attributes:
        certificate: its own.
        key: with which it signs.
        token: of all pages of the run.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    token: bytes

    @classmethod
    def new(cls, run: str, days: int, now: dt.datetime) -> Authority:
        """Makes the authority of the run with this label.

        Raises:
            CertificateError: the label cannot be part of a certificate.
        """
        Holder.of(run, "viewer", "check")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Pangea run {run}"[:64])])
        certificate = (
            _builder(name, name, key.public_key(), now, _end(now, days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"pangea://{run}")]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, secrets.token_urlsafe(32).encode())

    @property
    def run(self) -> str:
        """The label of the run that it was made for."""
        return uri_of(self.certificate).removeprefix("pangea://")

    @property
    def expires(self) -> dt.datetime:
        """When it ends, and every certificate with it."""
        return self.certificate.not_valid_after_utc

    def issue(self, role: str, name: str, days: int, now: dt.datetime, revoked: bytes = b"") -> Identity:
        """Makes a key and a certificate.

        Args:
            role, name: of the holder.
            days: how long it is valid; not longer than the authority is.
            now: the time.
            revoked: the current list of revoked certificates, PEM; empty for none.
        Raises:
            CertificateError: role or name are not valid, or the authority has expired.
        """
        holder, key = Holder.of(self.run, role, name), ec.generate_private_key(ec.SECP256R1())
        return Identity(
            authority=pem(self.certificate),
            certificate=pem(self._sign(holder, key.public_key(), days, now)),
            key=key_pem(key),
            revoked=revoked or self.revoked({}, now),
            token=self.token if holder.role.sees_pages else b"",
        )

    def renew(self, certificate: bytes, days: int, now: dt.datetime) -> bytes:
        """A new certificate, PEM, for the key and the holder of one that this authority made, whether expired or not.

        Raises:
            CertificateError: the certificate is not one of this authority.
        """
        old = self.check(certificate)
        key = old.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return pem(self._sign(holder_of(old), key, days, now))

    def check(self, certificate: bytes) -> x509.Certificate:
        """Reads a certificate.

        Raises:
            CertificateError: this authority has not made it.
        """
        found = read_certificate(certificate)
        try:
            found.verify_directly_issued_by(self.certificate)
        except Exception as error:
            raise CertificateError(
                f"the certificate was not made by the authority of run {self.run}; name the folder of its own authority"
            ) from error
        return found

    def revoked(self, serials: Mapping[int, dt.datetime], now: dt.datetime) -> bytes:
        """The list of revoked certificates, PEM, from their serial numbers and when each was revoked."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - _SKEW)
            # There is no server that hands out the next one: the list is replaced when it changes.
            .next_update(max(self.expires, now + _SKEW))
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial, since in sorted(serials.items()):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(self, holder: Holder, key: ec.EllipticCurvePublicKey, days: int, now: dt.datetime) -> x509.Certificate:
        if now >= self.expires:
            raise CertificateError(
                f"the authority of run {self.run} expired on {self.expires:%Y-%m-%d %H:%M} UTC; make a new one with"
                " pangea certs new, and certificates for all processes"
            )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{holder.role} {holder.name}"[:64])])
        names = [
            x509.UniformResourceIdentifier(holder.uri),
            # For libraries that want the name of a server.
            x509.DNSName(str(holder.role)),
        ]
        return (
            _builder(name, self.certificate.subject, key, now, min(_end(now, days), self.expires))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def _end(now: dt.datetime, days: int) -> dt.datetime:
    return now + dt.timedelta(days=days)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as PEM, PKCS#8, unencrypted: the programs read it without a person."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_certificate(content: bytes) -> x509.Certificate:
    """Reads a certificate from PEM.

    Raises:
        CertificateError: it is not one.
    """
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise CertificateError("the file is not a certificate in PEM; make it again with pangea certs issue") from error


def uri_of(certificate: x509.Certificate) -> str:
    """The one URI of a certificate.

    Raises:
        CertificateError: it has none, or several.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CertificateError(
            "the certificate does not name its holder in one URI; make certificates with pangea certs"
        ) from error
    return uri


def holder_of(certificate: x509.Certificate) -> Holder:
    """Who holds a certificate.

    Raises:
        CertificateError: it is not a certificate of Pangea.
    """
    return Holder.parse(uri_of(certificate))
