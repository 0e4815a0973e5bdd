"""`./bazelw run //tools/advisories -- --database FOLDER`: advisories against the bills of materials of the images."""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

import click

from tools.advisories.accepted import Accepted, read_accepted
from tools.advisories.bills import Package, read_bill
from tools.advisories.database import Affected, BadAdvisory, Database, read_databases

_ACCEPTED = Path(__file__).with_name("accepted.toml")


def _path(_context: click.Context, _parameter: click.Parameter, value: tuple[Path, ...]) -> list[Path]:
    """`bazel run` changes the working directory."""
    return [Path(os.environ.get("BUILD_WORKING_DIRECTORY", "."), path) for path in value]


def findings(database: Database, packages: list[Package]) -> list[tuple[Package, Affected]]:
    """The advisories that concern one of the packages.

    Raises:
        BadAdvisory: a version cannot be compared.
    """
    return [
        (package, affected)
        for package in packages
        for affected in database.get((package.ecosystem, package.name), ())
        if affected.concerns(package.ecosystem, package.version)
    ]


def report(found: list[tuple[Package, Affected]], accepted: list[Accepted], today: dt.date) -> tuple[list[str], bool]:
    """The lines to print, and whether nothing has to be done."""
    known = {(one.id, one.package): one for one in accepted}
    lines, clean = [], True
    for package, affected in found:
        what = f"{affected.advisory}: {package.name} {package.version} ({package.ecosystem}): {affected.summary}"
        one = known.pop((affected.advisory, package.name), None)
        if one is not None and today <= one.until:
            lines.append(f"accepted until {one.until}: {what}; {one.reason}")
            continue
        clean = False
        lines.append(f"{what}" if one is None else f"no longer accepted since {one.until}: {what}")
    for one in known.values():
        lines.append(f"note: {one.id} of {one.package} is accepted, but concerns nothing any more; remove it")
    return lines, clean


@click.command()
@click.option(
    "--database",
    "databases",
    multiple=True,
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    callback=_path,
    help="A folder of advisories in the OSV format, one JSON file each; may be repeated.",
)
@click.option(
    "--sbom",
    "bills",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_path,
    help="A bill of materials in CycloneDX's format.  [default: those of the three images]",
)
def main(databases: list[Path], bills: list[Path]) -> None:
    """Compare what the images are made of with advisories; exit with 1 if one has to be acted upon."""
    bills = bills or [Path(bill) for bill in os.environ["SBOMS"].split()]
    try:
        packages = sorted({package for bill in bills for package in read_bill(bill)})
        found = findings(read_databases(databases), packages)
        lines, clean = report(found, read_accepted(_ACCEPTED), dt.datetime.now(dt.UTC).date())
    except (BadAdvisory, OSError, ValueError, KeyError) as error:
        sys.exit(f"advisories: {error}")
    print("\n".join([*lines, f"{len(packages)} packages of {len(bills)} bills, {len(found)} advisories"]))
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
