"""An error of Pangea that ends a script is a sentence with the script's line; an error of the script's own keeps its traceback."""

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


def ended(tmp_path: Path, error: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(error=error))
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path), **variables})


@pytest.mark.parametrize(
    ("said", "advice"),
    [("Expected more than 1 value per channel when training, got input size [1, 16]", "--drop-last"), ("No module named 'setuptools.command'", "backend='aot_eager'")],
)
def test_what_torch_says_is_told_with_what_to_do(tmp_path: Path, said: str, advice: str) -> None:
    result = ended(tmp_path, f"ValueError({said!r})")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"pangea: train.py, line 11: {said}. " in result.stderr and advice in result.stderr


def test_our_own_error_is_one_line(tmp_path: Path) -> None:
    result = ended(tmp_path, 'BrokenPromise("the parameter w was changed")')
    assert (result.returncode, result.stderr) == (1, "pangea: train.py, line 11: the parameter w was changed\n")
    assert result.stdout == "reported: the parameter w was changed\n"


@pytest.mark.parametrize(("error", "variables"), [('ValueError("own")', {}), ('BrokenPromise("b")', {"PANGEA_TRACEBACK": "1"})])
def test_a_traceback_is_there_where_it_is_of_use(tmp_path: Path, error: str, variables: dict[str, str]) -> None:
    result = ended(tmp_path, error, **variables)
    assert result.returncode == 1 and "Traceback" in result.stderr and "in helper" in result.stderr


def test_what_is_tolerated_names_the_line_that_does_it(tmp_path: Path) -> None:
    result = ended(tmp_path, 'SystemExit(__import__("pangea.errors").errors.calling_line() + "here")')
    assert result.stderr == "train.py, line 11: here\n"
