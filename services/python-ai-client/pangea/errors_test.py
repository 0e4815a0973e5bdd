"""An error of Pangea that ends a script is printed in one line; the script's own errors keep their traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from pangea.training.determinism import UncaughtErrorHook
from pangea.errors import BrokenPromise

before = UncaughtErrorHook()
before.remove()
hook = UncaughtErrorHook()
hook.on_error = lambda error: print("reported:", error)

def helper():
    raise {error}

helper()
"""


def run_script(tmp_path: Path, error: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(error=error))
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), **variables},
    )


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Expected more than 1 value per channel when training, got input size [1, 16]", "--drop-last"),
        ("No module named 'setuptools.command'", "backend='aot_eager'"),
    ],
)
def test_a_known_error_of_torch_is_printed_with_advice(tmp_path: Path, message: str, advice: str) -> None:
    result = run_script(tmp_path, f"ValueError({message!r})")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"pangea: train.py, line 11: {message}. " in result.stderr and advice in result.stderr


def test_an_error_of_pangea_is_one_line(tmp_path: Path) -> None:
    result = run_script(tmp_path, 'BrokenPromise("the parameter w was changed")')
    assert (result.returncode, result.stderr) == (1, "pangea: train.py, line 11: the parameter w was changed\n")
    assert result.stdout == "reported: the parameter w was changed\n"


@pytest.mark.parametrize(
    ("error", "variables"), [('ValueError("own")', {}), ('BrokenPromise("b")', {"PANGEA_TRACEBACK": "1"})]
)
def test_other_errors_and_debugging_keep_the_traceback(tmp_path: Path, error: str, variables: dict[str, str]) -> None:
    result = run_script(tmp_path, error, **variables)
    assert result.returncode == 1 and "Traceback" in result.stderr and "in helper" in result.stderr


def test_the_calling_line_is_that_of_the_script(tmp_path: Path) -> None:
    result = run_script(tmp_path, 'SystemExit(__import__("pangea.errors").errors.calling_line() + "here")')
    assert result.stderr == "train.py, line 11: here\n"
