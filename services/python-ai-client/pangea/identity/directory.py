"""The identity directory of one process: its certificate and key, and the certificate of the authority.

Every program takes such a folder as --identity or PANGEA_IDENTITY.
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from pangea.identity.holder import CertificateError
from pangea.rundir.atomic_file import explain_disk_errors, write_atomically

VARIABLE = "PANGEA_IDENTITY"
INSECURE_VARIABLE = "PANGEA_INSECURE"
AUTHORITY, CERTIFICATE, KEY, REVOKED, TOKEN = "authority.pem", "certificate.pem", "key.pem", "revoked.pem", "token"
# Whoever reads these files can act as the process, or open the pages of the run.
_PRIVATE = (KEY, TOKEN)


@dataclass(frozen=True)
class Identity:
    """The content of an identity directory, as bytes of the files.

    Attributes:
        authority: the certificate of the run's authority.
        certificate: of the process.
        key: its private key, PKCS#8; like the token not part of the text that a log would show.
        revoked: the authority's list of revoked certificates.
        token: what opens the pages instead of a certificate; empty for a process that has none.
    """

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    revoked: bytes = b""
    token: bytes = field(default=b"", repr=False)

    def files(self) -> dict[str, bytes]:
        """The files by name, the key before the certificate that belongs to it; without empty ones."""
        found = {
            AUTHORITY: self.authority,
            REVOKED: self.revoked,
            TOKEN: self.token,
            KEY: self.key,
            CERTIFICATE: self.certificate,
        }
        return {name: content for name, content in found.items() if content}

    def write(self, folder: Path) -> None:
        """Writes the files into a folder that only its owner can read, and creates it if it does not exist.

        Raises:
            CertificateError: the folder has a key already, which is never replaced.
            DiskError: it cannot be written.
        """
        with explain_disk_errors(f"cannot write {folder}", "choose another folder, or free some space"):
            make_private(folder)
            if (folder / KEY).exists():
                raise CertificateError(
                    f"{folder} has a key already; renew its certificate with pangea certs renew, or choose another"
                    " folder"
                )
            for name, content in self.files().items():
                write_file(folder, name, content)

    def archive(self) -> bytes:
        """The files as a tar archive, for a pipe to another machine."""
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in self.files().items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), _mode(name)
                archive.addfile(entry, io.BytesIO(content))
        return memory.getvalue()


def _mode(name: str) -> int:
    return 0o600 if name in _PRIVATE else 0o644


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Replaces one file of an identity directory atomically; a process that reads it sees the old or the new one."""
    write_atomically(folder / name, content, _mode(name))


_MAX_BYTES = 16 << 20


def check_files(folder: Path) -> None:
    """Refuses an identity directory with something that has no end, which a library would read until memory has.

    Raises:
        ValueError: a file is a pipe, a device or huge.
    """
    for name in (AUTHORITY, CERTIFICATE, KEY, REVOKED, TOKEN):
        file = folder / name
        if file.exists() and not (file.is_file() and file.stat().st_size <= _MAX_BYTES):
            raise ValueError(f"{name} is not a regular file of at most 16 MiB")


def make_private(folder: Path) -> None:
    """Creates a folder that only its owner can enter; one that exists becomes such a folder.

    Raises:
        OSError: it cannot be created, or belongs to somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(folder, 0o700)


def insecure(environment: dict[str, str] | os._Environ[str]) -> bool:
    """Whether the environment says that everybody may come in.

    Raises:
        CertificateError: it says neither that nor the opposite.
    """
    value = environment.get(INSECURE_VARIABLE, "")
    if value not in {"", "0", "1", "false", "true"}:
        raise CertificateError(f"{INSECURE_VARIABLE} is {value[:100]!r}; it must be 1 or 0")
    return value in {"1", "true"}


def configured(environment: dict[str, str] | os._Environ[str]) -> Path | None:
    """The identity directory that the environment names; None if there is none."""
    return Path(environment[VARIABLE]) if environment.get(VARIABLE) else None
