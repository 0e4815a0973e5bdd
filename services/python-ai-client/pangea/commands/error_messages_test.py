"""Errors of Pangea and of a disk are sentences; those of a script keep their tracebacks."""

import click
import pytest
from click.testing import CliRunner

from pangea.commands.error_messages import SCRIPT_RUNNING, PangeaGroup
from pangea.errors import PangeaError

FULL = OSError(28, "No space left on device", "/runs/one/launch.json")


def ended(error: BaseException, *, in_script: bool = False) -> tuple[int, str, BaseException | None]:
    """Exit code, stderr and what came through, of a command that ends with `error`."""

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
    ("error", "sentence"),
    [(PangeaError("the run is over"), "the run is over"), (FULL, "[Errno 28] No space left on device: '/runs/one/launch.json'")],
)
def test_an_error_that_names_what_to_do_is_a_sentence(error: Exception, sentence: str) -> None:
    code, said, through = ended(error)
    assert (code, said) == (1, f"pangea: {sentence}\n") and isinstance(through, SystemExit)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    fault = KeyError("step")
    assert ended(fault)[2] is fault


@pytest.mark.parametrize("error", [PangeaError("a promise is broken"), FULL])
def test_what_a_script_raises_is_left_to_the_script(error: Exception) -> None:
    assert ended(error, in_script=True)[2] is error


def test_whoever_looks_for_a_fault_gets_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_TRACEBACK", "1")
    assert ended(FULL)[2] is FULL


def test_a_closed_pipe_is_no_error_to_read_about() -> None:
    code, said, _ = ended(BrokenPipeError(32, "Broken pipe"))
    assert code == 1 and said == ""
