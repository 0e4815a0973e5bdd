"""A run that a command starts and waits for: progress, closing figures, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from pangea.children import ChildFailed
from pangea.datasets import UnknownDataset
from pangea.launcher import Listeners, Outcome
from pangea.places import MissingFile
from pangea.report import ProgressDisplay, print_table, summary
from pangea.resume import CannotResume
from pangea.settings import UnusableLaunchFile
from pangea.stopping import StopWish, listening


def run_training(start: Callable[[Listeners, StopWish], Outcome], as_json: bool) -> None:
    """Trains and reports; exits with 1 and a sentence on stderr if the run cannot go on, with 130 or 143 if it was stopped."""
    console = Console(stderr=as_json)
    try:
        with listening() as wish, ProgressDisplay(console) as progress:
            outcome = start(Listeners(progress.update, lambda event: console.print(event, style="yellow", soft_wrap=True, highlight=False)), wish)
    except (ChildFailed, MissingFile, FileExistsError, CannotResume, UnusableLaunchFile, UnknownDataset) as error:
        print(f"pangea: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("pangea: stopped at once", file=sys.stderr)
        sys.exit(130)
    figures: dict[str, Any] = summary(outcome)
    if as_json:
        print(json.dumps(figures, indent=1))
    else:
        print_table(console, figures)
    if not outcome.finished:
        print(f"pangea: stopped after {figures['steps']} of {outcome.run.get('total_steps') or 'all'} steps; go on with: pangea train --resume {outcome.run_dir}", file=sys.stderr)
        sys.exit(wish.exit_code or 1)
