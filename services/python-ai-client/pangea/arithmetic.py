"""The arithmetic of a run: which instructions and kernels the libraries below torch use, on any machine.

ATen, OpenBLAS, oneDNN, MKL and numpy choose kernels by the processor they run on, and different kernels give different
bits. A level names one set of kernels that every processor of that level supports. A run is pinned to one level, and
all its workers set the environment variables that make the libraries use it.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pangea.errors import PangeaError

VARIABLE = "PANGEA_ARITHMETIC"
_RESTARTED = "PANGEA_RESTARTED"
_TUNABLES = "GLIBC_TUNABLES"
# Modules that read the variables when they are loaded.
_READ_WHEN_LOADED = frozenset({"numpy", "torch"})


class UnavailableLevel(PangeaError, ValueError):
    """The level does not exist, or this processor does not support it."""


class NotPinned(PangeaError, RuntimeError):
    """This process has already loaded kernels chosen by its machine and environment, and cannot change them."""


@dataclass(frozen=True)
class Level:
    """One set of kernels.

    Attributes:
        flags: the flags in /proc/cpuinfo that a processor of this level has.
        variables: the environment variables that make the libraries use these kernels.
    """

    flags: frozenset[str]
    variables: Mapping[str, str]


# The flags are those of x86-64-v3 and -v4.
_V3 = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
# numpy's feature names; a name that a release or a processor does not know is ignored. The last one covers all of them
# in numpy 2.4.
_BEYOND_V4 = "AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
_BEYOND_V3 = f"AVX512F AVX512CD AVX512_SKX {_BEYOND_V4} X86_V4"
# In ascending order: from the level that most machines support to the fastest one.
LEVELS = {
    "avx2": Level(
        _V3,
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_CBWR": "AVX2",
            "NPY_DISABLE_CPU_FEATURES": _BEYOND_V3,
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
    ),
    "avx512": Level(
        _V4,
        {
            "ATEN_CPU_CAPABILITY": "avx512",
            "MKL_CBWR": "AVX512",
            "NPY_DISABLE_CPU_FEATURES": _BEYOND_V4,
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
            "OPENBLAS_CORETYPE": "SkylakeX",
        },
    ),
}
# Variables that also affect the bits and are always unset: aliases of the settings above, hints, block sizes, and
# silently reduced precision.
_UNSET = frozenset(
    {
        "DNNL_CPU_ISA_HINTS",
        "DNNL_DEFAULT_FPMATH_MODE",
        "DNNL_MAX_CPU_ISA",
        "MKL_DEBUG_CPU_TYPE",
        "MKL_ENABLE_INSTRUCTIONS",
        "NPY_ENABLE_CPU_FEATURES",
        "ONEDNN_CPU_ISA_HINTS",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "OPENBLAS_BLOCK_FACTOR",
        "OPENBLAS_L2_SIZE",
        "TORCH_MKLDNN_MATMUL_MIN_DIM",
        "TORCH_MKLDNN_MATMUL_MIN_SIZE",
    }
)
# All variables that affect the bits. Sorted, because they are shown to users who have to set them by hand.
_RELEVANT = sorted({*_UNSET, _TUNABLES, *(name for level in LEVELS.values() for name in level.variables)})


def best_level(cpuinfo: str | None = None) -> str:
    """Returns the highest level that a processor supports; empty if it supports none, and then nothing is pinned.

    Args:
        cpuinfo: text of /proc/cpuinfo; default: this machine's.
    """
    flags = _flags(cpuinfo)
    return next((name for name, level in reversed(LEVELS.items()) if level.flags <= flags), "")


def _flags(cpuinfo: str | None) -> frozenset[str]:
    text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def require(level: str, cpuinfo: str | None = None) -> None:
    """Checks that the level exists and the processor supports it; the empty level "" is always available.

    Raises:
        UnavailableLevel: with advice.
    """
    if not level:
        return
    if level not in LEVELS:
        raise UnavailableLevel(f"unknown arithmetic {level!r}; choose {' or '.join(LEVELS)}")
    if missing := LEVELS[level].flags - _flags(cpuinfo):
        have = best_level(cpuinfo)
        advice = f"start the run with --arithmetic {have}, or use other machines" if have else "use other machines"
        raise UnavailableLevel(
            f"the run uses the arithmetic {level}, but this machine's processor lacks {', '.join(sorted(missing))};"
            f" {advice}"
        )


def requested_level(environment: Mapping[str, str]) -> str:
    """Returns the level that PANGEA_ARITHMETIC names, or the best one of this machine.

    Raises:
        UnavailableLevel: this machine does not support it.
    """
    level = environment.get(VARIABLE, "")
    require(level)
    return level or best_level()


def pin(environment: Mapping[str, str], level: str) -> dict[str, str]:
    """Returns `environment` with all variables that affect the bits set for this level; unchanged for the level ""."""
    if not level:
        return dict(environment)
    tunables = ":".join(
        item for item in environment.get(_TUNABLES, "").split(":") if item and not item.startswith("glibc.cpu.")
    )
    kept = {name: value for name, value in environment.items() if name not in _RELEVANT}
    return {**kept, **LEVELS[level].variables, **({_TUNABLES: tunables} if tunables else {}), VARIABLE: level}


def _needed_changes(environment: Mapping[str, str], level: str) -> dict[str, str | None]:
    """Returns the variables to change for the level, with their new values; None means unset."""
    pinned = pin(environment, level)
    return {name: pinned.get(name) for name in _RELEVANT if pinned.get(name) != environment.get(name)}


def _initial_environment() -> dict[str, str]:
    """Returns the environment at the start of this process; later changes do not affect libraries already loaded."""
    entries = [os.fsdecode(entry).partition("=") for entry in Path("/proc/self/environ").read_bytes().split(b"\0")]
    return {name: value for name, equals, value in entries if equals}


def is_pinned(level: str) -> bool:
    """Returns whether the libraries of this process use the level: it was started with it, or pinned in time."""
    return _pinned_in_process == level or not _needed_changes(_initial_environment(), level)


# The level that this process was pinned to after its start and before torch was loaded.
_pinned_in_process = ""


def pin_before_torch() -> None:
    """Pins this process if no library that reads the variables is loaded yet; otherwise does nothing.

    Raises:
        UnavailableLevel: this machine does not support the level that PANGEA_ARITHMETIC names.
    """
    global _pinned_in_process
    level = requested_level(os.environ)
    # The C library read its tunables when the process started, so they cannot be changed here.
    if (
        not is_pinned(level)
        and not _READ_WHEN_LOADED & sys.modules.keys()
        and _TUNABLES not in _needed_changes(_initial_environment(), level)
    ):
        _pinned_in_process = level
        pinned = pin(os.environ, level)
        for name in _needed_changes(os.environ, level):
            os.environ.pop(name, None)
        os.environ.update(pinned)


def pinned_level() -> str:
    """Returns the level that this process is pinned to; "" if it is not pinned."""
    level = os.environ.get(VARIABLE, "")
    return level if level in LEVELS and is_pinned(level) else ""


def ensure_pinned() -> str:
    """Pins this process to the level of PANGEA_ARITHMETIC, or to the best one of this machine, and returns that level.

    A script that has already loaded torch is restarted, once. Under pytest, and on processors that support no level,
    nothing is pinned and the result is "".

    Raises:
        UnavailableLevel: this machine does not support the level.
        NotPinned: it is too late to pin, and the script cannot be restarted; the message says how to start it.
    """
    pin_before_torch()
    level = requested_level(os.environ)
    if is_pinned(level):
        return level
    if "pytest" in sys.modules:
        return ""
    if (obstacle := _restart_obstacle()) is not None:
        raise NotPinned(
            f"torch or numpy was loaded before the arithmetic {level} was pinned, and this process cannot be restarted:"
            f" {obstacle}. Start the script with `pangea train` or `pangea worker`, call pangea.seed_everything before"
            f" torch is imported, or start this process as: {_pinned_command(level)} ..."
        )
    _restart(level)


def _pinned_command(level: str) -> str:
    """Returns the command that starts a process with this environment, pinned to the level."""
    changes = _needed_changes(_initial_environment(), level).items()
    unset = [word for name, value in changes if value is None for word in ("-u", name)]
    return shlex.join(
        ["env", *unset, *(f"{name}={value}" for name, value in changes if value is not None), f"{VARIABLE}={level}"]
    )


def _restart_obstacle() -> str | None:
    """Returns why this process cannot be replaced by a new one that runs the same script; None if it can."""
    if os.environ.get(_RESTARTED) == str(os.getpid()):
        return "it was restarted once, and something set the variables again on the way"
    script = sys.orig_argv[1:]
    if hasattr(sys, "ps1") or sys.flags.interactive or "ipykernel" in sys.modules:
        return "it is interactive"
    if not script or script[-1] == "-" or not (hasattr(sys.modules["__main__"], "__file__") or "-c" in script):
        return "its script was read from standard input"
    parent = getattr(sys.modules.get("multiprocessing.process"), "parent_process", lambda: None)
    if parent() is not None:
        return "it is a child of multiprocessing"
    if others := [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]:
        return f"it has other threads ({', '.join(others)})"
    return None


def _restart(level: str) -> NoReturn:
    print(
        f"pangea: restarting {Path(sys.argv[0]).name or 'the script'} with the arithmetic {level} pinned before torch"
        " is loaded",
        file=sys.stderr,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # exec keeps the process ID, so the mark identifies this process; a child that inherits it may still restart itself.
    os.execve(
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**pin(os.environ, level), _RESTARTED: str(os.getpid())}
    )
