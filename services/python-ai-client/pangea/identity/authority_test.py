"""Certificates name their holder, are valid for their time and their authority only, and are refused when revoked."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from pangea.identity.authority import Authority, holder_of, read_certificate
from pangea.identity.holder import CertificateError, Holder, Role

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new("digits", 365, NOW)


def test_a_certificate_has_one_uri_the_role_as_a_name_and_both_uses(authority: Authority) -> None:
    identity = authority.issue("worker", "worker-1", 30, NOW)
    certificate = read_certificate(identity.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["pangea://digits/worker/worker-1"]
    assert names.get_values_for_type(x509.DNSName) == ["worker"]
    uses = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert uses == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert holder_of(certificate) == Holder("digits", Role.WORKER, "worker-1")
    key = serialization.load_pem_private_key(identity.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    assert key.public_key() == certificate.public_key()
    assert identity.key.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_certificate_does_not_outlive_its_authority(authority: Authority) -> None:
    certificate = read_certificate(authority.issue("data", "data-1", 10_000, NOW).certificate)
    assert certificate.not_valid_after_utc == authority.expires == NOW + dt.timedelta(days=365)
    assert certificate.not_valid_before_utc < NOW
    with pytest.raises(CertificateError, match="expired on 2027-03-01 12:00 UTC; make a new one with pangea certs new"):
        authority.issue("data", "data-1", 1, authority.expires)


def test_the_token_of_the_pages_is_given_to_those_who_serve_or_read_them(authority: Authority) -> None:
    with_token = {role for role in Role if authority.issue(role, "one", 1, NOW).token}
    assert with_token == {Role.ORCHESTRATOR, Role.DATA, Role.ADMIN, Role.VIEWER}


def test_renewing_keeps_the_key_and_the_holder_also_after_the_end(authority: Authority) -> None:
    old = authority.issue("worker", "*", 1, NOW).certificate
    later = NOW + dt.timedelta(days=3)
    renewed = read_certificate(authority.renew(old, 30, later))
    before = read_certificate(old)
    assert renewed.public_key() == before.public_key()
    assert holder_of(renewed) == holder_of(before) == Holder("digits", Role.WORKER, "*")
    assert renewed.serial_number != before.serial_number
    assert renewed.not_valid_after_utc == later + dt.timedelta(days=30)


def test_a_certificate_of_another_authority_is_not_renewed(authority: Authority) -> None:
    # The label of the run is the same; the key is not.
    foreign = Authority.new("digits", 365, NOW).issue("worker", "worker-1", 30, NOW).certificate
    with pytest.raises(CertificateError, match="was not made by the authority of run digits"):
        authority.renew(foreign, 30, NOW)


def test_the_list_of_revoked_certificates_is_signed_and_lasts_as_long_as_the_authority(authority: Authority) -> None:
    revoked = x509.load_pem_x509_crl(authority.revoked({7: NOW}, NOW))
    assert [entry.serial_number for entry in revoked] == [7]
    assert revoked.is_signature_valid(authority.key.public_key())
    assert revoked.next_update_utc == authority.expires
    assert x509.load_pem_x509_crl(authority.issue("data", "one", 1, NOW).revoked).next_update_utc is not None


@pytest.mark.parametrize(
    ("run", "role", "name", "said"),
    [
        ("a/b", "worker", "one", "label of a run"),
        ("", "worker", "one", "label of a run"),
        ("a..b", "worker", "one", "label of a run"),
        ("ends.", "worker", "one", "label of a run"),
        ("a" * 64, "worker", "one", "label of a run"),
        ("run", "root", "one", "the roles are orchestrator, data, worker, admin, viewer"),
        ("run", "worker", "a/b", "name in a certificate"),
        ("run", "worker", "", "name in a certificate"),
        ("run", "worker", "\x1b[2J", "name in a certificate"),
        ("run", "worker", "**", "name in a certificate"),
        ("run", "orchestrator", "*", "only a worker's"),
    ],
)
def test_what_cannot_be_part_of_the_uri_is_refused(run: str, role: str, name: str, said: str) -> None:
    with pytest.raises(CertificateError, match=said):
        Holder.of(run, role, name)


@pytest.mark.parametrize(
    "uri", ["", "pangea://", "pangea://run/worker", "pangea://run/worker/a/b", "http://run/worker/a", "run/worker/a"]
)
def test_a_uri_of_something_else_is_refused(uri: str) -> None:
    with pytest.raises(CertificateError):
        Holder.parse(uri)
