"""Opens the pages of a run's processes: by the certificate and the token of an identity directory."""

from __future__ import annotations

import ssl
from pathlib import Path

from pangea.identity.directory import AUTHORITY, CERTIFICATE, KEY, REVOKED, TOKEN, check_files
from pangea.identity.holder import CertificateError, Holder, Role
from pangea.rundir.http_get import OPEN, Access

RUN_FOLDER = "identity"
"""In a run directory: the identity by which whoever leads the run reads its pages."""


class WrongServer(CertificateError, OSError):
    """A server with a certificate of the run's authority is not the process that was asked for."""


def access(folder: Path, role: Role = Role.ORCHESTRATOR) -> Access:
    """What opens the pages of a process of this role. Its role counts, not the name of its host: processes move.

    Raises:
        CertificateError: the identity directory cannot be used; the message says why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # `check` below compares the role instead.
    context.check_hostname = False
    try:
        check_files(folder)
        context.load_verify_locations(folder / AUTHORITY)
        if (folder / REVOKED).exists():
            context.load_verify_locations(folder / REVOKED)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        if (folder / CERTIFICATE).exists():
            context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
        token = (folder / TOKEN).read_text().strip() if (folder / TOKEN).exists() else ""
        # It becomes a line of the request.
        if not token.isascii() or not token.isprintable():
            raise ValueError(f"{TOKEN} is not a token")
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"the identity in {folder} cannot be used: {error}; make it with pangea certs issue"
        ) from error

    def check(certificate: dict[str, object]) -> None:
        names = certificate.get("subjectAltName", ())
        assert isinstance(names, tuple)
        uris = [name for kind, name in names if kind == "URI"]
        try:
            holder = Holder.parse(uris[0] if len(uris) == 1 else "")
        except CertificateError as error:
            raise WrongServer(str(error)) from error
        if holder.role is not role:
            raise WrongServer(f"the server has the certificate of {holder.uri}, which is not of role {role}")

    return Access(context, token, check)


def of_run(run_dir: Path, given: Path | None) -> Access:
    """What opens the pages of the orchestrator of a run.

    Args:
        run_dir: the run directory, in which the launcher of a run beyond this machine leaves what opens them.
        given: the identity directory that the user named; None for none.
    Raises:
        CertificateError: the identity directory cannot be used.
    """
    folder = given if given is not None else run_dir / RUN_FOLDER
    return access(folder) if given is not None or folder.is_dir() else OPEN
