"""Who wrote a ledger: the signature of its head, as docs/reference/ledger.md describes it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pangea.foreign import UnreadableFile
from pangea.ledger import fixtures
from pangea.ledger.audit import Finding, audit_ledger
from pangea.ledger.signature import UnusableKey, audit_signature, read_key, read_signature

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def signed_run(
    folder: Path, records: int = 16, key: Ed25519PrivateKey = KEY, changes: dict[str, Any] | None = None
) -> bytes:
    """A ledger that names KEY, with the signature of another program: written from the documentation alone."""
    run = fixtures.run()
    run[0]["public_key"] = PUBLIC
    content = fixtures.written(run)
    line = content[1024:].splitlines()[records - 1]
    chain = json.loads(line)["chain"]
    value = key.sign(f"pangea ledger head {records} {chain}\n".encode()).hex()
    public = key.public_key().public_bytes_raw().hex()
    made = {"records": records, "chain": chain, "key": public, "signature": value, **(changes or {})}
    (folder / "ledger.signature").write_text(json.dumps(made) + "\n")
    return content


def audited(folder: Path, content: bytes, wanted: str | None = None) -> tuple[Finding | None, str]:
    signature = read_signature(folder)
    report = audit_ledger(io.BytesIO(content), at=signature.records if signature is not None else None)
    assert report.audit.settings is not None
    return audit_signature(signature, report.chain_at, report.audit.settings.public_key, wanted)


def test_a_signed_ledger_says_who_wrote_it(tmp_path: Path) -> None:
    content = signed_run(tmp_path)
    for wanted in (None, PUBLIC):
        finding, line = audited(tmp_path, content, wanted)
        assert finding is not None and finding.holds
        assert line == f"signed by the key {PUBLIC}, up to record 15"


def test_records_after_the_signature_are_not_signed_yet(tmp_path: Path) -> None:
    finding, line = audited(tmp_path, signed_run(tmp_path, 7))
    assert finding is not None and finding.holds and line.endswith("up to record 6")


def test_a_ledger_without_a_signature_is_a_failure_only_if_a_key_is_wanted(tmp_path: Path) -> None:
    content = fixtures.written(fixtures.run())
    assert audited(tmp_path, content) == (None, "not signed: anybody could have written it")
    finding, _line = audited(tmp_path, content, PUBLIC)
    assert finding is not None and not finding.holds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signature": "0" * 128}, "was not made with this key for this head"),
        ({"chain": "0" * 64}, "was signed"),
        ({"records": 17}, "has fewer records"),
        ({"records": 15}, "was signed"),
        ({"key": STRANGER.public_key().public_bytes_raw().hex()}, "first record names the key"),
        ({"key": "0" * 64}, "was not made with this key"),
    ],
)
def test_a_signature_of_something_else_does_not_hold(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = signed_run(tmp_path, changes=changes)
    finding, line = audited(tmp_path, content)
    assert finding is not None and line == "the signature does not hold"
    assert any(said in row.detail for row in finding.rows), finding.rows


def test_a_stranger_who_signs_a_copy_is_found_out(tmp_path: Path) -> None:
    content = signed_run(tmp_path, key=STRANGER)
    finding, _line = audited(tmp_path, content)
    assert finding is not None and not finding.holds
    # One who replaces the key in the ledger too is found out by the key that was kept.
    run = fixtures.run()
    run[0]["public_key"] = STRANGER.public_key().public_bytes_raw().hex()
    finding, _line = audited(tmp_path, fixtures.written(run), PUBLIC)
    assert finding is not None and any("which was wanted" in row.detail for row in finding.rows)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"records": -1}', "[" * 100_000])
def test_a_file_that_is_no_signature_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.signature").write_text(text)
    with pytest.raises(UnreadableFile, match="ledger.signature"):
        read_signature(tmp_path)


def test_a_key_is_read_from_pem(tmp_path: Path) -> None:
    file = tmp_path / "ledger.pub"
    file.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert read_key(file) == PUBLIC
    other = generate_private_key(SECP256R1()).public_key()
    for content in (b"", b"no key", other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
        file.write_bytes(content)
        with pytest.raises(UnusableKey, match="a run has its own in ledger.pub"):
            read_key(file)
