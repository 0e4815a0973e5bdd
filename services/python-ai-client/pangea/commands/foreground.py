"""A run that a command starts and waits for: progress, closing figures, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from pangea.commands.report import ProgressDisplay, print_table, summary
from pangea.launch.outcome import Listeners, Outcome
from pangea.services.stopping import StopRequest, catch_signals

# Of a run that has all its steps, but not the same bits in each.
WRONG_BITS = 3
# So many incidents are named at the end.
_MOST_INCIDENTS = 5


def run_training(start: Callable[[Listeners, StopRequest], Outcome], as_json: bool) -> None:
    """Trains and reports.

    Exits with 129, 130 or 143 if it was stopped by a signal, and with 3 if it has finished with incidents that nobody could settle.
    """
    console = Console(stderr=as_json)
    try:
        with catch_signals() as request, ProgressDisplay(console) as progress:
            outcome = start(Listeners(progress.update, lambda event: console.print(event, style="yellow", soft_wrap=True, highlight=False, markup=False)), request)
    except KeyboardInterrupt:
        print("pangea: stopped at once", file=sys.stderr)
        sys.exit(130)
    figures: dict[str, Any] = summary(outcome)
    if as_json:
        print(json.dumps(figures, indent=1))
    else:
        print_table(console, figures)
    sys.exit(_close(outcome, figures, request))


def _close(outcome: Outcome, figures: dict[str, Any], request: StopRequest) -> int:
    """Says on stderr what a user must not miss; gives the exit code."""
    total = outcome.run.get("total_steps") or "all"
    if figures["checkpoint_error"]:
        _say(f"the last checkpoint could not be written: {figures['checkpoint_error']}")
    if not outcome.finished and outcome.stopped:
        _say(f"the run was ended after {figures['steps']} of {total} steps: {outcome.stopped}")
    elif not outcome.finished:
        _say(f"stopped after {figures['steps']} of {total} steps; go on with: pangea train --resume {outcome.run_dir}")
    elif outcome.stopped:
        _say(f"the script stopped the run early, after {figures['steps']} steps: {outcome.stopped}")
    for incident in outcome.unresolved[:_MOST_INCIDENTS]:
        _say(f"INCIDENT, {incident}")
    if outcome.unresolved:
        _say(f"{len(outcome.unresolved)} incidents of different bits that nobody could settle: the promise of the same bits did not hold; see pangea audit {outcome.run_dir}")
    if not outcome.finished:
        return request.exit_code or 1
    return WRONG_BITS if outcome.unresolved else 0


def _say(sentence: str) -> None:
    print(f"pangea: {sentence}", file=sys.stderr)
