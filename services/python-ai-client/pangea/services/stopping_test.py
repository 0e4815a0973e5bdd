"""Signals to a command become requests."""

import os
import signal

import pytest

from pangea.services.stopping import catch_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_first_stop_signal_is_recorded_and_the_second_interrupts(number: signal.Signals, code: int) -> None:
    with catch_signals() as request:
        assert (request.stop_signal, request.exit_code) == (None, 0)
        os.kill(os.getpid(), number)
        assert (request.stop_signal, request.exit_code) == (number, code)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_each_sigusr1_requests_a_checkpoint() -> None:
    with catch_signals() as request:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert request.pop_checkpoint()
            assert not request.pop_checkpoint()
        assert request.stop_signal is None
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_under_nohup_sighup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.stop_signal is None
    finally:
        signal.signal(signal.SIGHUP, before)
