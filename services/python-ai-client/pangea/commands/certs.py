"""`pangea certs`: makes, renews and revokes the certificates of a run, for those who start its processes themselves."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pangea.commands.terminal import show_line, text
from pangea.identity.authority import AUTHORITY_DAYS, CERTIFICATE_DAYS, holder_of, read_certificate
from pangea.identity.directory import CERTIFICATE, KEY, REVOKED
from pangea.identity.holder import ANY_NAME, CertificateError, Role
from pangea.identity.store import Issued, Store, is_store
from pangea.places import caller_folder

_DAYS = click.IntRange(1, 36500)
# A certificate that ends sooner is pointed out.
_SOON = dt.timedelta(days=7)
# What `pangea certs all` makes.
_ALL = ((Role.ORCHESTRATOR, "main"), (Role.DATA, "main"), (Role.WORKER, ANY_NAME), (Role.VIEWER, "main"))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _folder(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Paths are relative to the user's working directory."""
    if value is None:
        return None
    return tuple(caller_folder() / one for one in value) if isinstance(value, tuple) else caller_folder() / value


_authority = click.argument("authority", metavar="DIR", type=click.Path(path_type=Path), callback=_folder)


def _days(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--days", type=_DAYS, default=default, show_default=True, help="How long it is valid, from now."
    )


@click.group("certs")
def certs_command() -> None:
    """Make, renew and revoke the certificates by which the processes of a run know each other.

    DIR is the folder of the run's authority. It stays with whoever leads the run; a process gets only the folder that
    `issue` makes for it, as --identity or PANGEA_IDENTITY.
    """


@certs_command.command("new")
@_authority
@click.option("--run", default=None, metavar="LABEL", help="The label of the run.  [default: the name of DIR]")
@_days(AUTHORITY_DAYS)
def new_command(authority: Path, run: str | None, days: int) -> None:
    """Make the authority of a run in the new folder DIR."""
    store = Store.new(authority, run or authority.resolve().name, days, _now())
    show_line(
        Console(),
        f"{authority}: the authority of run {store.authority.run}, until {_day(store.authority.expires)}. Keep this"
        " folder to yourself; pangea certs issue makes the folder of each process",
    )


@certs_command.command("all")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), callback=_folder)
@click.option("--run", default=None, metavar="LABEL", help="The label of the run.  [default: the name of DIR]")
@_days(CERTIFICATE_DAYS)
def all_command(folder: Path, run: str | None, days: int) -> None:
    """Make everything that a small run needs, in folders of DIR; again, renew it.

    DIR/authority, and the identity directories DIR/orchestrator, DIR/data, DIR/worker (which all workers share, under
    any name) and DIR/viewer. For machines that share DIR; elsewhere, copy to each one only what its processes need.
    """
    if not is_store(folder / "authority"):
        Store.new(folder / "authority", run or folder.resolve().name, AUTHORITY_DAYS, _now())
    with Store.open(folder / "authority") as store:
        for role, name in _ALL:
            target = folder / role
            issued = (
                store.renew(target, days, _now())
                if (target / KEY).exists()
                else store.issue(role, name, days, _now(), target)
            )
            show_line(Console(), f"{target}: {issued.holder.uri}, until {_day(issued.expires)}")


@certs_command.command("issue")
@_authority
@click.argument("role", metavar="ROLE", type=click.Choice([role.value for role in Role]))
@click.argument("name")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DIR2",
    type=click.Path(path_type=Path),
    callback=_folder,
    help="The new identity directory of the process.",
)
@_days(CERTIFICATE_DAYS)
def issue_command(authority: Path, role: str, name: str, target: Path, days: int) -> None:
    """Make the identity directory of one process: its key and its certificate.

    A worker joins as NAME, which is its PANGEA_WORKER_NAME; '*' allows any name, for Jobs whose workers have no fixed
    ones.
    """
    with Store.open(authority) as store:
        issued = store.issue(role, name, days, _now(), target)
    show_line(Console(), f"{target}: {issued.holder.uri}, until {_day(issued.expires)}")


@certs_command.command("renew")
@_authority
@click.argument(
    "targets", nargs=-1, required=True, metavar="DIR2...", type=click.Path(path_type=Path), callback=_folder
)
@_days(CERTIFICATE_DAYS)
def renew_command(authority: Path, targets: tuple[Path, ...], days: int) -> None:
    """Replace the certificates in identity directories by ones that are valid longer, for the same keys.

    Processes that use a directory take the new certificate for their next connection; the run continues.
    """
    with Store.open(authority) as store:
        for target in targets:
            issued = store.renew(target, days, _now())
            show_line(Console(), f"{target}: {issued.holder.uri}, until {_day(issued.expires)}")


@certs_command.command("revoke")
@_authority
@click.argument("role", metavar="ROLE", type=click.Choice([role.value for role in Role]))
@click.argument("name")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="DIR2",
    type=click.Path(path_type=Path),
    callback=_folder,
    help="An identity directory that gets the new list of revoked certificates; may be repeated.",
)
def revoke_command(authority: Path, role: str, name: str, targets: tuple[Path, ...]) -> None:
    """Revoke all certificates of a holder.

    It takes effect in each process once its identity directory has the new list, which --to copies there: at least
    those of the orchestrator and the data services.
    """
    with Store.open(authority) as store:
        revoked = store.revoke(role, name, _now())
        for target in targets:
            store.copy_revoked(target)
    count = len(revoked)
    show_line(Console(), f"revoked {count} certificate{'s' if count > 1 else ''} of {revoked[0].holder.uri}")
    if not targets:
        show_line(
            Console(),
            f"copy {authority / REVOKED} into the identity directories of the orchestrator and the data services; they"
            " notice it within seconds",
        )


@certs_command.command("show")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), callback=_folder)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(folder: Path, as_json: bool) -> None:
    """List what an authority has made, or say whose identity directory DIR is, and when it expires."""
    now = _now()
    if is_store(folder):
        with Store.open(folder) as store:
            title, issued = f"Authority of run {store.authority.run}", store.issued()
            title += f", until {_day(store.authority.expires)}"
    else:
        title, issued = str(folder), [_of_directory(folder)]
    rows = [
        {
            "role": str(one.holder.role),
            "name": one.holder.name,
            "run": one.holder.run,
            "serial": f"{one.serial:x}",
            "expires": one.expires.isoformat(),
            "state": one.state(now),
        }
        for one in issued
    ]
    if as_json:
        print(json.dumps({"folder": str(folder), "authority": is_store(folder), "certificates": rows}, indent=1))
        return
    table = Table(title=text(title))
    for column in ("role", "name", "until", "state", "serial number"):
        table.add_column(column)
    for one, row in zip(issued, rows, strict=True):
        soon = row["state"] == "valid" and one.expires - now < _SOON
        table.add_row(
            text(row["role"]),
            text(row["name"]),
            _day(one.expires),
            text(row["state"] + (", renew it" if soon else "")),
            row["serial"],
        )
    Console().print(table)


def _of_directory(folder: Path) -> Issued:
    """The certificate in an identity directory."""
    try:
        certificate = read_certificate((folder / CERTIFICATE).read_bytes())
    except OSError as error:
        raise CertificateError(
            f"{folder} is neither the folder of an authority nor an identity directory: cannot read {CERTIFICATE}:"
            f" {error.strerror}"
        ) from error
    return Issued(certificate.serial_number, holder_of(certificate), certificate.not_valid_after_utc, revoked=False)


def _day(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
