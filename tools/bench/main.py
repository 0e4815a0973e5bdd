"""`./bazelw run //tools/bench`: the speed of Pangea compared with its peers, measured alternately on this machine."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pangea.places import caller_folder
from pangea.services.child import ChildFailed
from tools.bench import compare, machine, markdown
from tools.bench.report import as_json
from tools.bench.rounds import DifferentWork, Result, measure
from tools.bench.suites.registry import SUITES


def run_suites(names: tuple[str, ...], rounds: int, quick: bool, folder: Path) -> Iterator[Result]:
    """Measures all benchmarks of these suites; files go below `folder`, and progress to standard error."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="running-") as place:
        for name in names:
            for benchmark in SUITES[name](quick):
                yield measure(name, benchmark, rounds, Path(place), lambda turn: click.echo(turn, err=True))


def write(report: dict[str, Any], output: Path, name: str) -> str:
    """Writes the report as NAME.json and NAME.md; returns the second."""
    text = markdown.render(report)
    (output / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (output / f"{name}.md").write_text(text)
    return text


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("suites", nargs=-1, type=click.Choice(list(SUITES)))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for TIME.json and TIME.md.  [default: bench-results of the workspace]",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=None,
    help="Number of rounds, in each of which every contender runs once.  [default: 5; 1 with --quick]",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Tiny sizes, and one benchmark of each kind: shows that everything works, not how fast it is.",
)
@click.option(
    "--compare",
    "reports",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="OLD.json NEW.json",
    help="Measure nothing; show what has changed between two reports.",
)
def main(
    suites: tuple[str, ...], output: Path | None, rounds: int | None, quick: bool, reports: tuple[Path, Path] | None
) -> None:
    """Measure Pangea and its peers alternately, and report how many times as fast Pangea is.

    SUITES: what to measure; everything if none is named.
    """
    if reports is not None:
        if suites:
            raise click.UsageError("--compare measures nothing; do not name suites with it")
        click.echo(compare.render(*(_read(caller_folder() / file) for file in reports)), nl=False)
        return
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    folder = caller_folder() / output if output else Path(workspace or caller_folder()) / "bench-results"
    folder.mkdir(parents=True, exist_ok=True)
    name, where = time.strftime("%Y%m%d-%H%M%S"), machine.describe(Path(workspace) if workspace else None)
    results: list[Result] = []
    text = ""
    try:
        for result in run_suites(suites or tuple(SUITES), rounds or (1 if quick else 5), quick, folder):
            results.append(result)
            # An interrupted run keeps what has been measured.
            text = write(as_json(where, results), folder, name)
    except (ChildFailed, DifferentWork) as error:
        sys.exit(f"bench: {error}")
    click.echo(text)
    click.echo(f"Written to {folder / name}.json and .md")


def _read(file: Path) -> dict[str, Any]:
    """Raises:
    UsageError: there is no report of this build.
    """
    try:
        report = dict(json.loads(file.read_text()))
        markdown.render(report)
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{file} is not a report of this build ({error!r}); measure again") from error
    return report


if __name__ == "__main__":
    main()
