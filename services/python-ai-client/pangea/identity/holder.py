"""The holder of a certificate, which the certificate names by one URI: pangea://RUN/ROLE/NAME."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pangea.errors import PangeaError

ANY_NAME = "*"
"""In a worker's certificate: it may join under any name. For Jobs and pools, whose workers have no fixed names."""

_SCHEME = "pangea://"
# What is valid both as the host of a URI, which a label of a run is in it, and as the name of a file.
_LABEL = re.compile(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_NAME = re.compile(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{0,127}")


class CertificateError(PangeaError, ValueError):
    """A certificate cannot be made, read or used; the message says what to do."""


class Role(StrEnum):
    """What the holder of a certificate is to a run."""

    ORCHESTRATOR = "orchestrator"
    DATA = "data"
    WORKER = "worker"
    ADMIN = "admin"
    VIEWER = "viewer"

    @property
    def sees_pages(self) -> bool:
        """Whether it serves the pages that are not open to everyone, or may read them."""
        return self is not Role.WORKER


@dataclass(frozen=True)
class Holder:
    """Who holds a certificate.

    Attributes:
        run: the label of the run that the authority was made for.
        role: what it may do.
        name: its own; that of a worker is the name under which it joins, or `ANY_NAME`.
    """

    run: str
    role: Role
    name: str

    @classmethod
    def of(cls, run: str, role: str, name: str) -> Holder:
        """A holder from foreign texts.

        Raises:
            CertificateError: one of them cannot be part of the URI.
        """
        if not _LABEL.fullmatch(run) or ".." in run:
            raise CertificateError(
                f"{run[:100]!r} cannot be the label of a run; use up to 63 letters, digits, - _ and ., beginning and"
                " ending with a letter or digit"
            )
        if role not in set(Role):
            raise CertificateError(f"{role[:100]!r} is not a role; the roles are {', '.join(Role)}")
        if name == ANY_NAME and role != Role.WORKER:
            raise CertificateError(f"only a worker's certificate can be for any name ({ANY_NAME}); name the {role}")
        if name != ANY_NAME and not _NAME.fullmatch(name):
            raise CertificateError(
                f"{name[:100]!r} cannot be a name in a certificate; use up to 128 letters, digits, - _ and ., beginning"
                " with a letter or digit"
            )
        return cls(run, Role(role), name)

    @classmethod
    def parse(cls, uri: str) -> Holder:
        """The holder that a certificate's URI names.

        Raises:
            CertificateError: it is not a URI of Pangea.
        """
        run, role, name = [*uri.removeprefix(_SCHEME).split("/"), "", ""][:3]
        if uri != f"{_SCHEME}{run}/{role}/{name}":
            raise CertificateError(
                f"{uri[:200]!r} does not name a holder; certificates of Pangea have {_SCHEME}RUN/ROLE/NAME"
            )
        return cls.of(run, role, name)

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"{_SCHEME}{self.run}/{self.role}/{self.name}"
