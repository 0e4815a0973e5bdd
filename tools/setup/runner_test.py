"""The steps that run, their order, and what happens when one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.setup.commands import Commands, StepFailed
from tools.setup.runner import run_steps
from tools.setup.steps import Step, chosen


def steps(*outcomes: str | BaseException) -> tuple[list[Step], list[int]]:
    """One step an outcome, and the numbers of those that ran."""
    ran: list[int] = []

    def step(number: int, outcome: str | BaseException) -> Step:
        def run() -> str:
            ran.append(number)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return Step(f"step-{number}", run)

    return [step(number, outcome) for number, outcome in enumerate(outcomes, 1)], ran


def run(
    *outcomes: str | BaseException, wanted: tuple[int, ...] = (1, 2, 3), keep: bool = False
) -> tuple[int, list[int], str]:
    made, ran = steps(*outcomes)
    shown: list[str] = []
    ticks = iter(range(1000))
    code = run_steps(made, wanted, keep, shown.append, lambda: float(next(ticks)))
    return code, ran, "\n".join(shown)


def test_all_steps_are_announced_with_their_times() -> None:
    code, ran, shown = run("one", "two", "three")
    assert (code, ran) == (0, [1, 2, 3])
    assert "step 2 of 3: step-2 ..." in shown
    assert "step 2 of 3: step-2: ok in 1.0 s: two" in shown
    assert "1 1.0 s, 2 1.0 s, 3 1.0 s" in shown


def test_a_failure_shows_its_log_and_cleans_up_with_its_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("what went wrong\n")
    code, ran, shown = run(StepFailed("no", 7, log), "two", "cleaned")
    assert (code, ran) == (7, [1, 3])
    assert "what went wrong" in shown
    assert "step-1: FAILED after 1.0 s: no" in shown


def test_an_interruption_cleans_up() -> None:
    assert run("one", KeyboardInterrupt(), "cleaned")[:2] == (130, [1, 2, 3])


def test_keep_leaves_all_there_also_after_a_failure() -> None:
    code, ran, shown = run(StepFailed("no"), "two", "cleaned", keep=True)
    assert (code, ran) == (1, [1])
    assert "left out" in shown


def test_without_the_last_step_nothing_is_cleaned_up() -> None:
    assert run("one", "two", "cleaned", wanted=(1, 2))[1] == [1, 2]


def test_a_failed_clean_up_is_a_failure() -> None:
    assert run("one", "two", StepFailed("stuck", 3))[0] == 3


def test_lists_of_steps() -> None:
    assert chosen("1-3,5", 7) == [1, 2, 3, 5]
    assert chosen("7,7", 7) == [7]


@pytest.mark.parametrize("text", ["", "x", "0", "8", "3-1", "1-", "-2", "1-9"])
def test_other_words_are_no_lists_of_steps(text: str) -> None:
    with pytest.raises(ValueError, match="step"):
        chosen(text, 7)


def test_a_command_that_fails_is_named_with_its_log(tmp_path: Path) -> None:
    commands = Commands(tmp_path, tmp_path / "logs")
    assert commands.run("echo", ["sh", "-c", 'echo "$WORD"'], WORD="hello").read_text() == "hello\n"
    with pytest.raises(StepFailed, match="exited with 3") as failure:
        commands.run("bad", ["sh", "-c", "echo reason; exit 3"])
    assert failure.value.code == 3
    assert failure.value.log is not None
    assert failure.value.log.read_text() == "reason\n"
