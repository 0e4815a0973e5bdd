"""A worker process ends sooner: the interpreter does not search what it is about to forget.

At its end, Python collects garbage several times, and torch has brought some hundred thousand objects to search: that
takes longer than a hundred steps of a small model, in each worker. Objects that are frozen are not searched. Modules
are still cleared, and what nobody refers to is still destroyed; what only refers to itself is left to the kernel, with
the memory of the process. Python promises no destructor at its end (`object.__del__`), but a file that is written to
and never closed should have its last line, so files are flushed.
"""

from __future__ import annotations

import atexit
import gc
import io
from contextlib import suppress

_WITH_BUFFERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def leave_quickly() -> None:
    """Makes this process end without searching for garbage. Further calls change nothing."""
    atexit.unregister(_freeze)
    atexit.register(_freeze)


def _freeze() -> None:
    # By its type: `isinstance` also asks an object for its class, and some modules warn when asked for anything.
    for file in [found for found in gc.get_objects() if issubclass(type(found), _WITH_BUFFERS)]:
        # Closed, detached, or its disk is full: Python would ignore that at its end too.
        with suppress(ValueError, OSError):
            file.flush()
    gc.freeze()
