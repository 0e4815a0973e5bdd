"""The errors that Pangea raises on purpose, and how one that ends a script is told: a sentence with the line of the script, no traceback."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_TRACEBACK = "PANGEA_TRACEBACK"


class PangeaError(Exception):
    """The root of all errors that name what the user can do. The message is for people."""


class MisusedRun(PangeaError, RuntimeError):
    """The script uses the run in a way that cannot be right; the message says what to write instead."""


class BrokenPromise(PangeaError, RuntimeError):
    """The script does something that makes the result depend on who computes what, or on the order; the message names it."""


def _frames(traceback: types.TracebackType | None) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def script_line(traceback: types.TracebackType | None) -> str:
    """The innermost line of the user's script that led to an error, as "train.py, line 12: "; empty if there is none."""
    script = getattr(sys.modules.get("__main__"), "__file__", None) or (sys.argv[0] if sys.argv else "")
    place = ""
    for file, line in _frames(traceback):
        if not file.startswith((_PACKAGE, "<")) and file == script:
            place = f"{Path(file).name}, line {line}: "
    return place


def sentence(error: BaseException, traceback: types.TracebackType | None) -> str:
    """What is printed of an error that ends a script."""
    return f"pangea: {script_line(traceback)}{error}"


def wants_traceback() -> bool:
    """Whether somebody who looks for a fault in Pangea itself has asked for tracebacks."""
    return os.environ.get(_TRACEBACK) == "1"
