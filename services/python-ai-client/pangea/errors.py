"""The errors that Pangea raises on purpose, and the one line that is printed if one ends a script."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

from pangea.printable import printable

_PACKAGE = str(Path(__file__).parent)
_TRACEBACK = "PANGEA_TRACEBACK"


class PangeaError(Exception):
    """The base of all errors whose message tells the user what to do."""


class MisusedRun(PangeaError, RuntimeError):
    """The script calls the API of a run incorrectly; the message says what to write instead."""


class BrokenPromise(PangeaError, RuntimeError):
    """The script makes the result depend on how shards are assigned or ordered; the message says how."""


def _in_script(file: str) -> bool:
    """Returns whether a file is the script that the user started."""
    script = getattr(sys.modules.get("__main__"), "__file__", None) or (sys.argv[0] if sys.argv else "")
    return file == script and not file.startswith((_PACKAGE, "<"))


def _location(file: str, line: int) -> str:
    return f"{Path(file).name}, line {line}: "


def script_line(traceback: types.TracebackType | None) -> str:
    """Returns the innermost line of the user's script in a traceback, as "train.py, line 12: "; else ""."""
    place = ""
    while traceback is not None:
        if _in_script(file := traceback.tb_frame.f_code.co_filename):
            place = _location(file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def calling_line() -> str:
    """Returns the innermost line of the user's script on the call stack, as "train.py, line 12: "; else ""."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if _in_script(file := frame.f_code.co_filename):
            return _location(file, frame.f_lineno)
        frame = frame.f_back
    return ""


def place_of(function: object) -> str:
    """Returns where a function begins, as " (train.py, line 12)"; "" for one that is not Python's."""
    code = getattr(getattr(function, "func", function), "__code__", None)
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code is not None else ""


def format_error(error: BaseException, traceback: types.TracebackType | None) -> str:
    """Returns the line that is printed for an error that ends a script."""
    return printable(f"pangea: {script_line(traceback)}{error}")


def wants_traceback() -> bool:
    """Returns whether tracebacks are requested (PANGEA_TRACEBACK=1), for debugging Pangea itself."""
    return os.environ.get(_TRACEBACK) == "1"
