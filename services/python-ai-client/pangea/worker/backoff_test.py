"""Attempts start quickly, slow down to one a second, and stop at the limit."""

from pangea.worker.backoff import Backoff


class Time:
    """A clock that advances only when `sleep` is called."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


def backoff(time: Time, limit: float, low: bool = False) -> Backoff:
    return Backoff(
        limit,
        clock=lambda: time.seconds,
        now=lambda: time.seconds,
        sleep=time.sleep,
        uniform=lambda a, b: a if low else b,
    )


def test_pauses_double_from_20_ms_to_a_second() -> None:
    time = Time()
    policy = backoff(time, 100)
    for _ in range(9):
        assert policy.pause()
    assert time.pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]


def test_a_pause_is_shortened_by_at_most_half() -> None:
    time = Time()
    policy = backoff(time, 100, low=True)
    for _ in range(8):
        policy.pause()
    assert time.pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]


def test_the_service_may_ask_for_a_longer_pause() -> None:
    time = Time()
    assert backoff(time, 100).pause(at_least=3.0)
    assert time.pauses == [3.0]


def test_it_gives_up_at_the_limit_and_reports_when_the_outage_started() -> None:
    time = Time()
    policy = backoff(time, 2.5)
    while policy.pause(at_least=1.0):
        pass
    assert time.pauses == [1.0, 1.0, 0.5], "the last attempt is made at the limit"
    assert policy.since == "1970-01-01T00:16:40+00:00"


def test_time_with_a_connection_does_not_count_but_only_progress_resets_the_limit() -> None:
    time = Time()
    policy = backoff(time, 2.5)
    policy.pause(at_least=2.0)
    policy.connected()
    time.seconds += 1_000
    assert policy.remaining == 0.5
    assert policy.pause(at_least=2.0)
    assert not policy.pause()
    assert policy.since == "1970-01-01T00:16:40+00:00", "the outage is the same one"


def test_after_progress_an_outage_is_a_new_one() -> None:
    time = Time()
    policy = backoff(time, 2.5)
    policy.pause(at_least=2.0)
    policy.connected()
    policy.progressed()
    assert (policy.remaining, policy.since) == (2.5, "")
    policy.pause()
    assert time.pauses == [2.0, 0.02]


def test_workers_with_equal_seeds_do_not_retry_in_lockstep() -> None:
    import random

    pauses = []
    for _ in range(2):
        random.seed(5)
        time = Time()
        policy = Backoff(100, sleep=time.sleep)
        policy.pause(), policy.pause(), policy.pause()
        pauses.append(time.pauses)
    assert pauses[0] != pauses[1]
