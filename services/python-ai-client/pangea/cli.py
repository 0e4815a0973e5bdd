"""The `pangea` command."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pangea.audit_command import audit_command
from pangea.children import ChildFailed
from pangea.doctor import examine
from pangea.export_command import export_command
from pangea.launcher import Settings, train
from pangea.places import MissingFile, caller_folder, example
from pangea.report import ProgressDisplay, print_table, summary


def _power_of_two(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    if not 1 <= value <= 1024 or value & (value - 1):
        raise click.BadParameter(f"{value} is not a power of two from 1 to 1024")
    return value


def run_training(settings: Settings, as_json: bool) -> None:
    """Trains and reports; exits with 1 and a sentence on stderr if the run cannot go on."""
    console = Console(stderr=as_json)
    try:
        with ProgressDisplay(console) as progress:
            outcome = train(settings, progress.update, lambda event: console.print(event, style="yellow", soft_wrap=True))
    except (ChildFailed, MissingFile, FileExistsError) as error:
        print(f"pangea: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("pangea: stopped", file=sys.stderr)
        sys.exit(130)
    figures: dict[str, Any] = summary(outcome)
    if as_json:
        print(json.dumps(figures, indent=1))
    else:
        print_table(console, figures)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train PyTorch models on many machines: kill anything, same bits, every sample once."""


@main.command("train")
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes on this machine.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 1 << 20), default=64, show_default=True, help="Samples of a step, over all workers.")
@click.option("--shards", type=int, default=8, show_default=True, callback=_power_of_two, help="Micro-batches of a step; a power of two.")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True)
@click.option("--run-dir", type=click.Path(), default=None, help="Where the run's files go.  [default: pangea-runs/TIME-SEED]")
@click.option("--json", "as_json", is_flag=True, help="Print the closing figures as JSON.")
def train_command(script: Path | None, workers: int, epochs: int, batch_size: int, shards: int, seed: int, run_dir: str | None, as_json: bool) -> None:
    """Train SCRIPT (default: a digit classifier) with several workers.

    SCRIPT calls pangea.join; its parameters are the same bytes for any number of workers.
    """
    path = caller_folder() / script if script is not None else example("digits.py")
    if not path.is_file():
        raise click.BadParameter(f"there is no file {path}", param_hint="SCRIPT")
    run_training(Settings(path, workers, epochs, batch_size, shards, seed, run_dir), as_json)


@main.command("doctor")
@click.option("--json", "as_json", is_flag=True)
def doctor_command(as_json: bool) -> None:
    """Look at what training needs on this machine; exit with 1 if something is missing."""
    findings = examine()
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.value}")
    if any(finding.ok is False for finding in findings):
        sys.exit(1)


main.add_command(audit_command)
main.add_command(export_command)
