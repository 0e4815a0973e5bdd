"""The folder of an authority: its key, and which certificates it has made and revoked.

Whoever reads the folder can act as every process of the run. The processes never need it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pangea.identity.authority import Authority, holder_of, key_pem, pem, read_certificate
from pangea.identity.directory import AUTHORITY, CERTIFICATE, REVOKED, TOKEN, make_private, write_file
from pangea.identity.holder import CertificateError, Holder
from pangea.rundir.atomic_file import explain_disk_errors, write_atomically

AUTHORITY_KEY = "authority.key"
_ISSUED = "issued.jsonl"


@dataclass(frozen=True)
class Issued:
    """A certificate that an authority has made."""

    serial: int
    holder: Holder
    expires: dt.datetime
    revoked: bool

    def state(self, now: dt.datetime) -> str:
        """Whether it can be used, in a word or two."""
        if self.revoked:
            return "revoked"
        return "expired" if now >= self.expires else "valid"


@dataclass(frozen=True)
class Store:
    """An authority in its folder."""

    folder: Path
    authority: Authority

    @classmethod
    def new(cls, folder: Path, run: str, days: int, now: dt.datetime) -> Store:
        """Makes an authority in a folder.

        Raises:
            CertificateError: there is one already, or the label of the run is not valid.
            DiskError: the folder cannot be written.
        """
        if is_store(folder):
            raise CertificateError(
                f"{folder} has an authority already; make certificates with pangea certs issue, or choose another"
                " folder"
            )
        authority = Authority.new(run, days, now)
        with explain_disk_errors(f"cannot write {folder}", "choose another folder, or free some space"):
            make_private(folder)
            write_file(folder, TOKEN, authority.token + b"\n")
            write_file(folder, AUTHORITY, pem(authority.certificate))
            write_file(folder, REVOKED, authority.revoked({}, now))
            # Last: the folder is an authority only once all of it is there.
            write_atomically(folder / AUTHORITY_KEY, key_pem(authority.key), 0o600)
        return cls(folder, authority)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Store]:
        """The authority in a folder, which no other process changes meanwhile.

        Raises:
            CertificateError: there is none, or others can read its key.
        """
        try:
            if (mode := (folder / AUTHORITY_KEY).stat().st_mode) & 0o077:
                raise CertificateError(
                    f"{folder / AUTHORITY_KEY} has mode {mode & 0o777:04o}, so others may have read it; make a new"
                    f" authority, or if nobody could: chmod 600 {folder / AUTHORITY_KEY}"
                )
            key = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
            certificate = read_certificate((folder / AUTHORITY).read_bytes())
            token = (folder / TOKEN).read_bytes().strip()
        except FileNotFoundError as error:
            raise CertificateError(
                f"{folder} has no authority ({Path(error.filename).name} is missing); make one with pangea certs new"
                f" {folder}"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, CertificateError):
                raise
            raise CertificateError(f"cannot read the authority in {folder}: {error}; restore it from a copy") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{AUTHORITY_KEY} and {AUTHORITY} in {folder} do not belong together; restore both")
        with (folder / AUTHORITY_KEY).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cls(folder, Authority(certificate, key, token))

    def issue(self, role: str, name: str, days: int, now: dt.datetime, target: Path) -> Issued:
        """Makes a certificate with its key in a new identity directory.

        Raises:
            CertificateError: role or name are not valid, or the target has a key already.
            DiskError: the target cannot be written.
        """
        identity = self.authority.issue(role, name, days, now, (self.folder / REVOKED).read_bytes())
        # Recorded first: one that was made but not recorded could not be revoked.
        issued = self._record(identity.certificate)
        identity.write(target)
        return issued

    def renew(self, target: Path, days: int, now: dt.datetime) -> Issued:
        """Replaces the certificate in an identity directory by one for the same key and holder, with a new time.

        Processes that use the directory take the new one for their next connection.

        Raises:
            CertificateError: the directory has no certificate of this authority, or a revoked one.
        """
        try:
            old = (target / CERTIFICATE).read_bytes()
        except OSError as error:
            raise CertificateError(
                f"cannot read {target / CERTIFICATE}: {error.strerror}; name an identity directory that pangea certs"
                " issue has made"
            ) from error
        certificate = self.authority.check(old)
        if certificate.serial_number in self._revoked():
            raise CertificateError(
                f"the certificate in {target} is revoked; make another one with pangea certs issue, in another folder"
            )
        renewed = self.authority.renew(old, days, now)
        issued = self._record(renewed)
        with explain_disk_errors(f"cannot write {target}", "free some space, or get permission to write there"):
            write_file(target, CERTIFICATE, renewed)
            self.copy_revoked(target)
        return issued

    def revoke(self, role: str, name: str, now: dt.datetime) -> list[Issued]:
        """Revokes all certificates of a holder that have not expired, and returns them.

        Raises:
            CertificateError: the holder has none.
        """
        holder = Holder.of(self.authority.run, role, name)
        wanted = [one for one in self.issued() if one.holder == holder and one.state(now) == "valid"]
        if not wanted:
            raise CertificateError(
                f"{role} {name} has no certificate that is valid; pangea certs show {self.folder} lists them"
            )
        serials = {**self._revoked(), **{one.serial: now for one in wanted}}
        write_file(self.folder, REVOKED, self.authority.revoked(serials, now))
        return wanted

    def copy_revoked(self, target: Path) -> None:
        """Copies the list of revoked certificates into an identity directory."""
        write_file(target, REVOKED, (self.folder / REVOKED).read_bytes())

    def issued(self) -> list[Issued]:
        """All certificates that were made, in order.

        Raises:
            CertificateError: the list is damaged.
        """
        revoked, found = self._revoked(), []
        try:
            lines = (self.folder / _ISSUED).read_text().splitlines() if (self.folder / _ISSUED).exists() else []
            for line in lines:
                entry: Any = json.loads(line)
                serial, expires = int(entry["serial"], 16), dt.datetime.fromisoformat(entry["expires"])
                found.append(Issued(serial, Holder.parse(entry["holder"]), expires, serial in revoked))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CertificateError(
                f"{self.folder / _ISSUED} cannot be read ({error}); restore it from a copy, or make a new authority"
            ) from error
        return found

    def _record(self, certificate: bytes) -> Issued:
        made = read_certificate(certificate)
        issued = Issued(made.serial_number, holder_of(made), made.not_valid_after_utc, False)
        line = {"serial": f"{issued.serial:x}", "holder": issued.holder.uri, "expires": issued.expires.isoformat()}
        with explain_disk_errors(f"cannot write {self.folder / _ISSUED}", "free some space on that disk"):
            descriptor = os.open(self.folder / _ISSUED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(json.dumps(line).encode() + b"\n")
                stream.flush()
                os.fsync(descriptor)
        return issued

    def _revoked(self) -> dict[int, dt.datetime]:
        try:
            content = x509.load_pem_x509_crl((self.folder / REVOKED).read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"{self.folder / REVOKED} cannot be read ({error}); restore it from a copy"
            ) from error
        return {entry.serial_number: entry.revocation_date_utc for entry in content}


def is_store(folder: Path) -> bool:
    """Whether a folder has an authority."""
    return (folder / AUTHORITY_KEY).exists()
