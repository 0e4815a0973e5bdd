"""Children are started, awaited and stopped; the reason why one failed reaches the user."""

import signal
import sys
from pathlib import Path

import pytest

from pangea.services.child import Child, ChildFailed

# Writes the port file atomically, as the services do.
READY = """
import pathlib, sys, threading
file = pathlib.Path(sys.argv[1])
file.with_suffix(".tmp").write_text('{"listen": "127.0.0.1:1"}')
file.with_suffix(".tmp").rename(file)
threading.Event().wait()
"""


def child(tmp_path: Path, code: str, *arguments: str) -> Child:
    return Child("service", [sys.executable, "-c", code, *arguments], tmp_path / "log")


def test_a_service_is_ready_once_it_has_written_its_addresses(tmp_path: Path) -> None:
    service = child(tmp_path, READY, str(tmp_path / "ports"))
    assert service.wait_ready(tmp_path / "ports", 30) == {"listen": "127.0.0.1:1"}
    assert service.exit_code() is None
    assert service.stop() == -15


def test_the_error_for_a_service_that_fails_at_startup_has_the_end_of_its_log(tmp_path: Path) -> None:
    service = child(tmp_path, "import sys; print('port 9090 is taken', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ChildFailed, match=r"(?s)service exited with code 3.*port 9090 is taken"):
        service.wait_ready(tmp_path / "ports", 30)


def test_a_service_that_never_becomes_ready_is_stopped(tmp_path: Path) -> None:
    service = child(tmp_path, "import threading; threading.Event().wait()")
    with pytest.raises(ChildFailed, match="not ready after"):
        service.wait_ready(tmp_path / "ports", 0.1)
    assert service.exit_code() is not None


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignoring = READY.replace(
        "import pathlib", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport pathlib"
    )
    service = child(tmp_path, ignoring, str(tmp_path / "ports"))
    service.wait_ready(tmp_path / "ports", 30)
    assert service.stop(timeout=0.1) == -9


def test_a_failure_has_the_reason_that_was_printed_or_the_end_of_the_output(tmp_path: Path) -> None:
    def failure(code: str) -> str:
        failed = child(tmp_path, code)
        failed.process.wait(60)
        return str(failed.failure())

    assert (
        failure("print('pangea: x.py, line 7: the loss is NaN'); raise SystemExit(1)")
        == f"service exited with code 1: x.py, line 7: the loss is NaN\nIts log: {tmp_path / 'log'}"
    )
    listed = "nanobind: leaked 2 instances!" + 9 * r"\n - leaked instance x" + r"\nSee https://nanobind.readthedocs.io/"
    noise = f"print('pangea: the loss is NaN'); print('{listed}'); raise SystemExit(1)"
    assert failure(noise) == f"service exited with code 1: the loss is NaN\nIts log: {tmp_path / 'log'}"
    traceback = failure("raise ValueError('seven')")
    assert "ValueError: seven" in traceback and "line 7" not in traceback, "output of an earlier process"
    assert failure("raise SystemExit(2)") == f"service exited with code 2 and wrote nothing to {tmp_path / 'log'}"


def test_sigusr1_does_not_kill_a_child_that_does_not_handle_it(tmp_path: Path) -> None:
    service = child(tmp_path, READY, str(tmp_path / "ports"))
    service.wait_ready(tmp_path / "ports", 30)
    service.signal(signal.SIGUSR1)
    assert service.stop() == -signal.SIGTERM


def test_the_error_for_a_log_that_cannot_be_written_names_it(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"cannot start service with its log at .*gone"):
        Child("service", [sys.executable, "-c", "pass"], tmp_path / "gone" / "log")


def test_the_error_for_a_missing_program_names_it(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="cannot start ghost"):
        Child("ghost", [str(tmp_path / "ghost")], tmp_path / "log")
