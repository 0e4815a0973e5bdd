"""`./bazelw run //tests/offline`: builds a clean clone in a network namespace that holds nothing but the loopback.

It has what earlier builds fetched (the folder of fetched packages and the repository cache), but makes all repositories
again, in an output base of its own. With --no-disk-cache every action runs again, too. Only what is committed takes
part. Targets that are named replace //...
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from tests.cache.clone import BuildError, Clone, new_folder

_ISOLATED = (os.environ.get("PANGEA_PYTHON", sys.executable), "-m", "tests.offline.loopback_only")


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
@click.option("--no-disk-cache", is_flag=True, help="Use no results of earlier builds.")
@click.option("--keep", is_flag=True, help="Keep the clone and its log.")
@click.argument("targets", nargs=-1)
def main(no_disk_cache: bool, keep: bool, targets: tuple[str, ...]) -> None:
    """Builds the clone; exits with 1 if something does not build."""
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        raise click.ClickException("start it with ./bazelw run //tests/offline, so that it knows the workspace")
    folder = new_folder("offline-")
    click.echo(f"in {folder}")
    clone = Clone.make(Path(workspace), folder / "clone", prefix=_ISOLATED)
    clone.configure([])
    try:
        figures = clone.build(*(["--disk_cache="] if no_disk_cache else []), "--", *(targets or ("//...",)))
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    finally:
        clone.clean()
        if not keep and sys.exc_info()[0] is None:
            shutil.rmtree(folder, ignore_errors=True)
    made = ", ".join(f"{count} {name}" for name, count in sorted(figures.local.items())) or "none"
    click.echo(
        f"proved: {' '.join(targets or ('//...',))} builds without a network; actions: {made}; {figures.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
