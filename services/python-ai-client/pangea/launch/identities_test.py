"""Each process of a launched run gets its own certificate, and only the launcher has the authority."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pangea.identity.authority import holder_of, read_certificate
from pangea.identity.holder import Holder
from pangea.identity.pages import access
from pangea.launch.identities import Identities, insecure_environment, label_of, wants_identities

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def identities() -> Identities:
    return Identities("first", ("worker-1", "worker-2"), lambda: NOW)


def test_a_process_gets_the_role_of_its_name() -> None:
    made = identities()
    held = {
        name: str(holder_of(read_certificate(made.of(name).certificate)).role)
        for name in ("go-orchestrator", "rust-compute", "rust-compute-2", "worker-1", "worker-7")
    }
    assert held == {
        "go-orchestrator": "orchestrator",
        "rust-compute": "data",
        "rust-compute-2": "data",
        "worker-1": "worker",
        "worker-7": "worker",
    }


def test_the_text_of_an_identity_has_neither_key_nor_token() -> None:
    identity = identities().of("go-orchestrator")
    assert identity.token and identity.key
    for secret in (identity.token, identity.key):
        assert secret.decode().splitlines()[len(secret.splitlines()) > 1] not in repr(identity)


def test_what_the_launcher_leaves_opens_the_pages_and_replaces_that_of_an_earlier_start(tmp_path: Path) -> None:
    for _ in range(2):
        identities().leave_viewer(tmp_path)
    assert access(tmp_path / "identity").token
    certificate = read_certificate((tmp_path / "identity" / "certificate.pem").read_bytes())
    assert str(holder_of(certificate).role) == "viewer"
    assert (tmp_path / "identity").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("run", ["first", "my run", "..", "a..b", "ü", "x" * 100, "20260101-120000-0-17", "-_."])
def test_every_run_has_a_label(run: str) -> None:
    Holder.of(label_of(run), "worker", "one")


def test_certificates_are_wanted_as_soon_as_anything_leaves_the_loopback() -> None:
    assert not wants_identities(None, ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
    assert wants_identities(None, ["127.0.0.1", "10.0.0.1"])
    assert wants_identities(None, ["machine"])
    assert wants_identities(True, ["127.0.0.1"])
    assert not wants_identities(False, ["machine"])
    assert [insecure_environment(secure) for secure in (None, True, False)] == [{}, {}, {"PANGEA_INSECURE": "1"}]
