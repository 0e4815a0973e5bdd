"""What an exit code means, and when a process is restarted."""

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
def test_the_exit_status_follows_from_the_exit_code(
    exit_code: int | None, worker: ExitStatus, service: ExitStatus
) -> None:
    assert exit_status(exit_code, is_service=False) is worker
    assert exit_status(exit_code, is_service=True) is service


def test_without_progress_the_delay_doubles_up_to_its_maximum_and_then_restarting_ends() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(0.0, progress=7) for _ in range(6)] == [0.0, 0.5, 1.0, 1.5, 1.5, None]
    assert backoff.deaths - 1 == POLICY.max_restarts


def test_with_progress_between_deaths_every_restart_is_immediate() -> None:
    backoff = RestartBackoff(POLICY)
    assert {backoff.after_death(0.01 * step, progress=step) for step in range(100)} == {0.0}


def test_a_step_between_two_deaths_resets_the_count() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(float(second), progress=second // 3) for second in range(9)] == [0.0, 0.5, 1.0] * 3


def test_deaths_further_apart_than_the_window_each_count_as_the_first() -> None:
    backoff = RestartBackoff(POLICY)
    assert [backoff.after_death(second, progress=7) for second in (0.0, 11.0, 22.0, 33.0, 44.0)] == [0.0] * 5


def test_unlimited_restarts_are_immediate() -> None:
    backoff = RestartBackoff(UNLIMITED_RESTARTS)
    assert {backoff.after_death(0.0, progress=0) for _ in range(100)} == {0.0}
