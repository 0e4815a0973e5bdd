"""What the end of a process means, and when it is started again."""

import signal

import pytest

from pangea.services.restarts import UNLIMITED_RESTARTS, ExitStatus, RestartBackoff, RestartPolicy, exit_status

POLICY = RestartPolicy(max_restarts=5, window=10.0, initial_delay=0.5, max_delay=1.5)


@pytest.mark.parametrize(
    ("exit_code", "worker", "service"),
    [
        (None, ExitStatus.RUNNING, ExitStatus.RUNNING),
        (0, ExitStatus.EXITED, ExitStatus.EXITED),
        (1, ExitStatus.FAILED, ExitStatus.FAILED),
        (-signal.SIGKILL, ExitStatus.KILLED, ExitStatus.KILLED),
        (-signal.SIGSEGV, ExitStatus.KILLED, ExitStatus.KILLED),
        (-signal.SIGTERM, ExitStatus.EXITED, ExitStatus.KILLED),
        (-signal.SIGINT, ExitStatus.EXITED, ExitStatus.KILLED),
    ],
)
def test_an_exit_code_tells_what_became_of_a_process(exit_code: int | None, worker: ExitStatus, service: ExitStatus) -> None:
    assert exit_status(exit_code, is_service=False) is worker
    assert exit_status(exit_code, is_service=True) is service


def test_without_progress_each_death_costs_twice_as_much_up_to_a_bound_and_then_the_process_is_given_up() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(0.0, progress=7) for _ in range(6)] == [0.0, 0.5, 1.0, 1.5, 1.5, None]
    assert backoff.deaths - 1 == POLICY.max_restarts


def test_with_progress_between_them_any_number_of_deaths_cost_no_pause() -> None:
    backoff = RestartBackoff(POLICY)
    assert {backoff.after_death(0.01 * step, progress=step) for step in range(100)} == {0.0}


def test_a_step_between_two_deaths_starts_the_count_anew() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(float(second), progress=second // 3) for second in range(9)] == [0.0, 0.5, 1.0] * 3


def test_deaths_far_apart_are_each_a_first_one() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(second, progress=7) for second in (0.0, 11.0, 22.0, 33.0, 44.0)] == [0.0] * 5


def test_who_kills_on_purpose_gets_every_process_back_at_once() -> None:
    backoff = RestartBackoff(UNLIMITED_RESTARTS)
    assert {backoff.after_death(0.0, progress=0) for _ in range(100)} == {0.0}
