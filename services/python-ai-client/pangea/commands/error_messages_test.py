"""Errors of Pangea and of the operating system are messages; those of a script keep their tracebacks."""

import click
import pytest
from click.testing import CliRunner

from pangea.commands.error_messages import SCRIPT_RUNNING, PangeaGroup
from pangea.errors import PangeaError

FULL = OSError(28, "No space left on device", "/runs/one/launch.json")


def run_failing(error: BaseException, *, in_script: bool = False) -> tuple[int, str, BaseException | None]:
    """Exit code, stderr and the exception that left the group, for a command that raises `error`."""

    @click.group(cls=PangeaGroup)
    def group() -> None:
        pass

    @group.command("fail")
    @click.pass_context
    def fail(context: click.Context) -> None:
        context.meta[SCRIPT_RUNNING] = in_script
        raise error

    result = CliRunner().invoke(group, ["fail"])
    return result.exit_code, result.stderr, result.exception


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PangeaError("the run is over"), "the run is over"),
        (FULL, "[Errno 28] No space left on device: '/runs/one/launch.json'"),
    ],
)
def test_an_expected_error_is_a_message(error: Exception, message: str) -> None:
    code, printed, raised = run_failing(error)
    assert (code, printed) == (1, f"pangea: {message}\n") and isinstance(raised, SystemExit)


def test_a_bug_in_pangea_keeps_its_traceback() -> None:
    bug = KeyError("step")
    assert run_failing(bug)[2] is bug


@pytest.mark.parametrize("error", [PangeaError("a promise is broken"), FULL])
def test_an_error_in_the_script_keeps_its_traceback(error: Exception) -> None:
    assert run_failing(error, in_script=True)[2] is error


def test_pangea_traceback_1_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_TRACEBACK", "1")
    assert run_failing(FULL)[2] is FULL


def test_a_closed_pipe_is_not_reported() -> None:
    code, printed, _ = run_failing(BrokenPipeError(32, "Broken pipe"))
    assert code == 1 and printed == ""
