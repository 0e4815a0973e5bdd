"""Which versions of torch Pangea was tried with, and what to say where torch is another one, or is missing."""

from __future__ import annotations

import importlib.util
import re

from pangea.errors import PangeaError

# `./bazelw run //tools/wheel` tries a version: training to the same bits, and the unit tests of training/ and worker/.
OLDEST, NEWEST = (2, 4), (2, 15)
TRIED = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"


class MissingTorch(PangeaError, ImportError):
    """torch is not installed in this environment."""


def missing_torch() -> MissingTorch:
    """Returns the error for an environment without torch."""
    return MissingTorch(
        "torch is not installed in this Python environment; install it (pip install torch). Pangea was tried with"
        f" torch {TRIED}",
        name="torch",
    )


def require_torch() -> None:
    """Checks that torch is installed, without loading it.

    Raises:
        MissingTorch: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing_torch()


def untried_version(version: str) -> str | None:
    """Returns a warning if Pangea was not tried with this version of torch, such as `2.6.0+cpu`; else None."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is not None and OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
        return None
    return (
        f"torch {version} is outside of the range that Pangea was tried with, {TRIED}; compare the bits of a run with 1"
        " and with 2 workers before you rely on them"
    )
