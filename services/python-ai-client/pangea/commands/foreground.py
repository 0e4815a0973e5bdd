"""Runs a training in the foreground of a command: progress, the summary at the end, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from pangea.commands.report import ProgressDisplay, print_table, summary
from pangea.commands.terminal import show_line, warn
from pangea.launch.outcome import Listeners, Outcome
from pangea.services.stopping import StopRequest, catch_signals

# The exit code for a run that has finished with unresolved incidents of different bits.
_DIFFERENT_BITS = 3
# How many unresolved incidents are listed at the end.
_MAX_INCIDENTS = 5


def run_training(start: Callable[[Listeners, StopRequest], Outcome], as_json: bool) -> None:
    """Trains, prints the summary, and exits.

    The exit code is 129, 130 or 143 after a signal, 1 if the run ended unfinished for another reason, 3 if it has
    finished with unresolved incidents, else 0.
    """
    console = Console(stderr=as_json)
    try:
        with catch_signals() as request, ProgressDisplay(console) as progress:
            outcome = start(
                Listeners(
                    progress.update,
                    lambda event: show_line(console, event, "yellow"),
                ),
                request,
            )
    except KeyboardInterrupt:
        warn("interrupted by a second signal")
        sys.exit(130)
    figures: dict[str, Any] = summary(outcome)
    if as_json:
        print(json.dumps(figures, indent=1))
    else:
        print_table(console, figures)
    sys.exit(_print_warnings(outcome, figures, request))


def _print_warnings(outcome: Outcome, figures: dict[str, Any], request: StopRequest) -> int:
    """Prints on stderr what the user must not miss; returns the exit code."""
    total = outcome.run.get("total_steps") or "all"
    if figures["checkpoint_error"]:
        warn(f"the last checkpoint could not be written: {figures['checkpoint_error']}")
    if not outcome.finished and outcome.stopped:
        warn(f"the run was ended after {figures['steps']} of {total} steps: {outcome.stopped}")
    elif not outcome.finished:
        warn(
            f"stopped after {figures['steps']} of {total} steps; resume it with: pangea train --resume"
            f" {outcome.run_dir}"
        )
    elif outcome.stopped:
        warn(f"the script stopped the run early, after {figures['steps']} steps: {outcome.stopped}")
    for incident in outcome.unresolved[:_MAX_INCIDENTS]:
        warn(f"INCIDENT, {incident}")
    if outcome.unresolved:
        count = f"{len(outcome.unresolved)} unresolved incident{'s' if len(outcome.unresolved) > 1 else ''}"
        warn(
            f"{count} of different bits: the promise of the same bits did not hold; see pangea audit {outcome.run_dir}"
        )
    if not outcome.finished:
        return request.exit_code or 1
    return _DIFFERENT_BITS if outcome.unresolved else 0
