"""Runs steps, announces and times each, and always cleans up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tools.setup.commands import StepFailed, tail
from tools.setup.steps import Step

# Number of lines of the log that are shown after a failure.
_SHOWN_LINES = 40
INTERRUPTED = 130


def run_steps(
    steps: Sequence[Step],
    wanted: Sequence[int],
    keep: bool,
    show: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs the wanted steps in order. The last step cleans up: it also runs after a failure or Ctrl-C, but not with `keep`.

    Args:
        wanted: numbers of steps, from 1.
        show: prints.
    Returns:
        The exit code: 0, or that of the command that failed.
    """
    last = len(steps)
    code = 0
    times: list[str] = []
    begun = clock()
    for number in [number for number in wanted if number != last]:
        code, seconds = _run(steps[number - 1], number, last, show, clock)
        times.append(f"{number} {seconds:.1f} s")
        if code != 0:
            break
    if keep:
        show(f"step {last} of {last}: {steps[-1].name}: left out, because of --keep")
    elif last in wanted or code != 0:
        cleaned, seconds = _run(steps[-1], last, last, show, clock)
        times.append(f"{last} {seconds:.1f} s")
        code = code or cleaned
    show(f"{'done' if code == 0 else 'FAILED'} in {clock() - begun:.1f} s (by step: {', '.join(times)})")
    return code


def _run(
    step: Step, number: int, last: int, show: Callable[[str], None], clock: Callable[[], float]
) -> tuple[int, float]:
    show(f"step {number} of {last}: {step.name} ...")
    started = clock()
    try:
        outcome = step.run()
    except StepFailed as failure:
        seconds = clock() - started
        if failure.log is not None and failure.log.exists():
            show(f"---- the end of {failure.log}\n{tail(failure.log, _SHOWN_LINES)}\n----")
        show(f"step {number} of {last}: {step.name}: FAILED after {seconds:.1f} s: {failure}")
        return failure.code or 1, seconds
    except KeyboardInterrupt:
        seconds = clock() - started
        show(f"step {number} of {last}: {step.name}: interrupted after {seconds:.1f} s")
        return INTERRUPTED, seconds
    seconds = clock() - started
    show(f"step {number} of {last}: {step.name}: ok in {seconds:.1f} s: {outcome}")
    return 0, seconds
