"""The signature of a ledger's head: who wrote the ledger, up to which record. docs/reference/ledger.md has the form.

The chain of hashes shows that nothing inside a ledger was changed; anybody can make such a chain. The signature is made
with the key of the run, which is not part of what is handed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pangea.errors import PangeaError
from pangea.foreign import UnreadableFile, open_regular, read_object
from pangea.ledger.audit_finding import Finding
from pangea.ledger.decode import as_count, as_hash
from pangea.ledger.records import Hash
from pangea.printable import quoted

SIGNATURE, PUBLIC_KEY = "ledger.signature", "ledger.pub"
_MAX_KEY_BYTES = 1 << 16


class UnusableKey(PangeaError, ValueError):
    """A file is not the public key of a run; the message says why."""


@dataclass(frozen=True)
class Signature:
    """The content of ledger.signature.

    Attributes:
        records: how many records the signature covers, from the first one.
        chain: the chain hash of the last of them.
        key: the public key, 64 hexadecimal digits.
        value: the signature, in hexadecimal.
    """

    records: int
    chain: Hash
    key: str
    value: str

    @property
    def message(self) -> bytes:
        """What was signed."""
        return f"pangea ledger head {self.records} {self.chain}\n".encode()


def read_signature(run_dir: Path) -> Signature | None:
    """The signature beside a ledger; None if there is none.

    Raises:
        UnreadableFile: it is not of the documented form.
    """
    try:
        found = read_object(run_dir / SIGNATURE)
    except FileNotFoundError:
        return None
    try:
        value = found["signature"]
        if type(value) is not str or len(value) != 128 or value.strip("0123456789abcdef"):
            raise ValueError(f"{quoted(value)} is not a signature of 128 lower-case digits")
        return Signature(as_count(found["records"]), as_hash(found["chain"]), as_hash(found["key"]), value)
    except (KeyError, ValueError) as error:
        raise UnreadableFile(f"{run_dir / SIGNATURE} is not the signature of a ledger: {error}") from error


def read_key(file: Path) -> str:
    """The public key in a file, PEM, as 64 hexadecimal digits.

    Raises:
        UnusableKey: it is not an Ed25519 key.
        OSError: the file cannot be read.
    """
    # Imported here because it takes a while, and few commands need it.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    with open_regular(file) as stream:
        content = stream.read(_MAX_KEY_BYTES)
    try:
        key = load_pem_public_key(content)
    except Exception as error:
        raise UnusableKey(f"{file} is not a public key in PEM; a run has its own in {PUBLIC_KEY}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey(f"{file} is not an Ed25519 key; a run has its own in {PUBLIC_KEY}")
    return key.public_bytes_raw().hex()


def audit_signature(
    signature: Signature | None, chain: Hash | None, named: str, wanted: str | None
) -> tuple[Finding | None, str]:
    """Checks who wrote a ledger.

    Args:
        signature: beside the ledger; None for none.
        chain: the chain hash that the ledger has after `signature.records` records; None if it has fewer.
        named: the key in the ledger's first record; "" for none.
        wanted: the key that has to have signed it; None for any.
    Returns:
        a finding, if there is a signature or a key is wanted; and a line that says who signed.
    """
    if signature is None:
        why = "the run has a key, but has not signed yet" if named else "anybody could have written it"
        line = f"not signed: {why}"
        if wanted is None:
            return None, line
        finding = Finding("signature", f"the head is signed by the key {wanted}")
        finding.refute(line)
        return finding, line
    finding = Finding("signature", f"the first {signature.records} records are signed by the key {signature.key}")
    if wanted is not None and wanted != signature.key:
        finding.refute(f"the key is not {wanted}, which was wanted")
    if named != signature.key:
        finding.refute(f"the ledger's first record names {f'the key {named}' if named else 'no key'}")
    if chain is None:
        finding.refute("the ledger has fewer records: it was truncated, or is an older copy")
    elif chain != signature.chain:
        finding.refute(f"the head after these records is {chain}, but {signature.chain} was signed")
    if not _is_valid(signature):
        finding.refute("the signature does not hold: it was not made with this key for this head")
    if not finding.holds:
        return finding, "the signature does not hold"
    return finding, f"signed by the key {signature.key}, up to record {signature.records - 1}"


def _is_valid(signature: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.key)).verify(
            bytes.fromhex(signature.value), signature.message
        )
    except (InvalidSignature, ValueError):
        return False
    return True
