"""The messages at the end of a run, and the exit code of the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from pangea.commands.foreground import run_training
from pangea.launch.incidents import Incident
from pangea.launch.outcome import Outcome

LINE = {
    "step": 0,
    "epoch": 0,
    "loss": 0.5,
    "samples": 8,
    "seconds": 0.1,
    "workers": 1,
    "data_seconds": 0.1,
    "compute_seconds": 0.1,
    "exchange_seconds": 0.1,
}
CONFLICT = Incident("conflict", 3, "worker-2", "different bits", resolved=False)
SETTLED = Incident("conflict", 4, "worker-1", "settled", resolved=True)


def outcome(*incidents: Incident, **run: Any) -> Outcome:
    return Outcome(Path("/runs/one"), {"total_steps": 9, **run}, {}, [LINE], 1.0, [], {}, list(incidents))


@pytest.mark.parametrize(
    ("ended", "code", "message"),
    [
        (outcome(state="finished"), 0, None),
        (outcome(SETTLED, state="finished", incidents=1), 0, None),
        (
            outcome(CONFLICT, SETTLED, state="finished", incidents=2),
            3,
            "INCIDENT, conflict at step 3 by worker-2: different bits",
        ),
        (
            outcome(CONFLICT, state="finished"),
            3,
            "1 unresolved incident of different bits: the promise of the same bits did not hold",
        ),
        (
            outcome(state="finished", stopped="good enough"),
            0,
            "the script stopped the run early, after 1 steps: good enough",
        ),
        (outcome(state="stopped"), 1, "stopped after 1 of 9 steps; resume it with: pangea train --resume /runs/one"),
        (
            outcome(CONFLICT, state="stopped", stopped="the script is not deterministic"),
            1,
            "the run was ended after 1 of 9 steps: the script is not deterministic",
        ),
        (
            outcome(state="finished", checkpoint_error="no space left"),
            0,
            "the last checkpoint could not be written: no space left",
        ),
    ],
)
def test_the_outcome_decides_the_message_and_the_exit_code(
    ended: Outcome, code: int, message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        run_training(lambda _listeners, _request: ended, as_json=True)
    assert exit_code.value.code == code
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert figures["stopped"] == ended.stopped and len(figures["incidents"]) == len(ended.incidents)
    assert (message in printed.err) if message is not None else "pangea:" not in printed.err


def test_the_table_shows_incidents_and_an_early_stop(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_training(
            lambda _listeners, _request: outcome(CONFLICT, SETTLED, state="finished", stopped="[bold]enough"),
            as_json=False,
        )
    printed = capsys.readouterr().out
    assert "2, of which 1 resolved" in printed and "[bold]enough" in printed
