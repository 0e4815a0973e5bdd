"""`./bazelw run //tools/wheel`: tries the wheel with one interpreter and one torch, in a new environment.

Needs the network, and some GB of disk: torch comes from the package index that pip is configured for. Prints what the
environment has, whether 1 and 2 workers train to the same bits, and the result of the unit tests of training/ and
worker/; exits with 1 if one of them fails.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from tools.wheel.trial import Failed, Trial


@click.command(help=__doc__)
@click.option("--python", required=True, help="An interpreter: a version such as 3.13, a name on PATH, or a path.")
@click.option("--torch", required=True, help="A version of torch, such as 2.15 or 2.6.0.")
@click.option("--lowest", is_flag=True, help="Take the lowest version that the wheel allows of everything but torch.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the environment in this new folder.")
def main(python: str, torch: str, lowest: bool, keep: Path | None) -> None:
    """Tries it, in a folder that is deleted afterwards unless --keep names one."""
    with tempfile.TemporaryDirectory(prefix="pangea-wheel-") as temporary:
        folder = keep.absolute() if keep is not None else Path(temporary)
        trial = Trial(Path(os.environ["RUNFILES_DIR"], "_main"), folder)
        try:
            trial.install(python, torch, lowest=lowest)
            print(trial.describe())
            print(f"1 and 2 workers: {trial.train()}")
            print(trial.unit_tests())
        except Failed as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
