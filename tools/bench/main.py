"""`./bazelw run //tools/bench`: speed of Pangea beside that of its peers, measured in turn on this machine."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pangea.children import ChildFailed
from pangea.places import caller_folder
from tools.bench import machine
from tools.bench.compare import DifferentWork, Result, measure
from tools.bench.report import as_json
from tools.bench.suites.registry import SUITES
from tools.bench.table import show


def run_suites(names: tuple[str, ...], repeat: int, quick: bool, folder: Path, console: Console) -> list[Result]:
    """Measures all benchmarks of these suites; files go below `folder`."""
    results = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="running-") as place, console.status("") as status:
        for name in names:
            for benchmark in SUITES[name](quick):
                results.append(measure(name, benchmark, repeat, Path(place), status.update))
    return results


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--suite", "suites", multiple=True, type=click.Choice(list(SUITES)), help="What to measure; may be given several times.  [default: everything]")
@click.option("--repeat", type=click.IntRange(1), default=None, help="Rounds, in each of which every contender has its turn.  [default: 5; 1 with --quick]")
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that everything works, not how fast.")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write all values.  [default: bench-results/TIME.json of the workspace]")
def main(suites: tuple[str, ...], repeat: int | None, quick: bool, file: Path | None) -> None:
    """Measure Pangea and its peers in turn, print by how much each is faster, and write all values to a file."""
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    folder = Path(workspace or caller_folder()) / "bench-results"
    folder.mkdir(exist_ok=True)
    file = caller_folder() / file if file else folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    console = Console()
    where: dict[str, Any] = machine.describe(Path(workspace) if workspace else None)
    try:
        results = run_suites(suites or tuple(SUITES), repeat or (1 if quick else 5), quick, folder, console)
    except (ChildFailed, DifferentWork) as error:
        sys.exit(f"bench: {error}")
    file.write_text(json.dumps(as_json(where, results), indent=1) + "\n")
    show(console, where, results)
    console.print(f"Written to {file}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
