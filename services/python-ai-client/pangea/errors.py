"""The errors that Pangea raises on purpose, and how one that ends a script is told: a sentence with the line of the script, no traceback."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_TRACEBACK = "PANGEA_TRACEBACK"


class PangeaError(Exception):
    """The root of all errors that name what the user can do. The message is for people."""


class MisusedRun(PangeaError, RuntimeError):
    """The script uses the run in a way that cannot be right; the message says what to write instead."""


class BrokenPromise(PangeaError, RuntimeError):
    """The script does something that makes the result depend on who computes what, or on the order; the message names it."""


def _in_script(file: str) -> bool:
    """Whether a file is the script that the user started."""
    script = getattr(sys.modules.get("__main__"), "__file__", None) or (sys.argv[0] if sys.argv else "")
    return file == script and not file.startswith((_PACKAGE, "<"))


def _location(file: str, line: int) -> str:
    return f"{Path(file).name}, line {line}: "


def script_line(traceback: types.TracebackType | None) -> str:
    """The innermost line of the user's script that led to an error, as "train.py, line 12: "; empty if there is none."""
    place = ""
    while traceback is not None:
        if _in_script(file := traceback.tb_frame.f_code.co_filename):
            place = _location(file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def calling_line() -> str:
    """The innermost line of the user's script that is being executed, as "train.py, line 12: "; empty if there is none."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if _in_script(file := frame.f_code.co_filename):
            return _location(file, frame.f_lineno)
        frame = frame.f_back
    return ""


def format_error(error: BaseException, traceback: types.TracebackType | None) -> str:
    """What is printed of an error that ends a script."""
    return f"pangea: {script_line(traceback)}{error}"


def wants_traceback() -> bool:
    """Whether somebody who looks for a fault in Pangea itself has asked for tracebacks."""
    return os.environ.get(_TRACEBACK) == "1"
