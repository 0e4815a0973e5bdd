"""The folder of an authority: private, never overwritten, and able to revoke what it has made."""

from __future__ import annotations

import datetime as dt
import io
import stat
import tarfile
from pathlib import Path

import pytest
from cryptography import x509

from pangea.identity.authority import read_certificate
from pangea.identity.holder import CertificateError
from pangea.identity.store import Store

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.new(tmp_path / "authority", "digits", 365, NOW)
    return tmp_path / "authority"


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def issue(folder: Path, role: str, name: str, target: Path) -> None:
    with Store.open(folder) as store:
        store.issue(role, name, 30, NOW, target)


def test_keys_and_tokens_are_for_their_owner_only(folder: Path, tmp_path: Path) -> None:
    issue(folder, "orchestrator", "main", tmp_path / "identity")
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    assert modes(folder) == {
        "authority.key": 0o600,
        "token": 0o600,
        "issued.jsonl": 0o600,
        "authority.pem": 0o644,
        "revoked.pem": 0o644,
    }
    assert modes(tmp_path / "identity") == {
        "key.pem": 0o600,
        "token": 0o600,
        "certificate.pem": 0o644,
        "authority.pem": 0o644,
        "revoked.pem": 0o644,
    }


def test_neither_an_authority_nor_a_key_is_overwritten(folder: Path, tmp_path: Path) -> None:
    before = (folder / "authority.key").read_bytes()
    with pytest.raises(CertificateError, match="has an authority already; make certificates with pangea certs issue"):
        Store.new(folder, "other", 1, NOW)
    assert (folder / "authority.key").read_bytes() == before
    issue(folder, "worker", "one", tmp_path / "identity")
    key = (tmp_path / "identity" / "key.pem").read_bytes()
    with pytest.raises(CertificateError, match="has a key already; renew its certificate with pangea certs renew"):
        issue(folder, "worker", "two", tmp_path / "identity")
    assert (tmp_path / "identity" / "key.pem").read_bytes() == key


def test_a_key_that_others_could_read_is_not_used(folder: Path) -> None:
    (folder / "authority.key").chmod(0o640)
    with pytest.raises(CertificateError, match="has mode 0640, so others may have read it"), Store.open(folder):
        pass


def test_a_folder_without_an_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="has no authority .authority.key is missing.; make one with pangea"):
        Store.open(tmp_path).__enter__()


def test_a_renewed_certificate_replaces_the_old_one_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "identity"
    issue(folder, "worker", "one", target)
    key, old = (target / "key.pem").read_bytes(), (target / "certificate.pem").read_bytes()
    with Store.open(folder) as store:
        issued = store.renew(target, 30, LATER)
        assert [one.holder.name for one in store.issued()] == ["one", "one"]
    assert (target / "key.pem").read_bytes() == key
    new = read_certificate((target / "certificate.pem").read_bytes())
    assert new.serial_number == issued.serial != read_certificate(old).serial_number
    assert new.not_valid_after_utc == LATER + dt.timedelta(days=30)


def test_a_holder_is_revoked_with_all_its_certificates_and_not_renewed(folder: Path, tmp_path: Path) -> None:
    issue(folder, "worker", "one", tmp_path / "one")
    issue(folder, "worker", "two", tmp_path / "two")
    with Store.open(folder) as store:
        store.renew(tmp_path / "one", 30, LATER)
        revoked = store.revoke("worker", "one", LATER)
        assert len(revoked) == 2
        assert {one.holder.name: one.state(LATER) for one in store.issued()} == {"one": "revoked", "two": "valid"}
        with pytest.raises(CertificateError, match="is revoked; make another one"):
            store.renew(tmp_path / "one", 30, LATER)
        with pytest.raises(CertificateError, match="worker one has no certificate that is valid"):
            store.revoke("worker", "one", LATER)
        store.renew(tmp_path / "two", 30, LATER)
    serials = {entry.serial_number for entry in x509.load_pem_x509_crl((tmp_path / "two" / "revoked.pem").read_bytes())}
    assert serials == {one.serial for one in revoked}


def test_a_damaged_list_is_reported(folder: Path) -> None:
    (folder / "issued.jsonl").write_text("[" * 100_000)
    with Store.open(folder) as store, pytest.raises(CertificateError, match="issued.jsonl cannot be read"):
        store.issued()


def test_an_identity_travels_as_an_archive(folder: Path, tmp_path: Path) -> None:
    with Store.open(folder) as store:
        identity = store.authority.issue("data", "data-1", 30, NOW)
    with tarfile.open(fileobj=io.BytesIO(identity.archive())) as archive:
        entries = {entry.name: entry.mode for entry in archive.getmembers()}
        archive.extractall(tmp_path / "there", filter="data")
    assert entries["key.pem"] == entries["token"] == 0o600
    assert (tmp_path / "there" / "key.pem").read_bytes() == identity.key
