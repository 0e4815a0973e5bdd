"""The arithmetic of a run: which instructions and kernels the libraries below torch use, whatever machine and environment they are in.

ATen, OpenBLAS, oneDNN, MKL and numpy choose kernels by the processor that they find, and different kernels give different bits. A level names one choice that
every processor of that level can make. A run is pinned to one level, and all its workers set the variables that make the libraries choose it.
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
# These read their variables when they are loaded.
_READ_WHEN_LOADED = frozenset({"numpy", "torch"})


class UnavailableLevel(PangeaError, ValueError):
    """There is no such level, or this processor does not have it."""


class NotPinned(PangeaError, RuntimeError):
    """This process computes with whatever its machine and its environment chose, and that cannot be changed any more."""


@dataclass(frozen=True)
class Level:
    """One choice of kernels.

    Attributes:
        flags: of /proc/cpuinfo, which a processor of this level has.
        variables: what makes the libraries choose these kernels.
    """

    flags: frozenset[str]
    variables: Mapping[str, str]


# The flags are those of x86-64-v3 and -v4.
_V3 = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
# By numpy's names; what a release or a processor does not know is no error. The last one is the name of all in numpy 2.4.
_BEYOND_V4 = "AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
_BEYOND_V3 = f"AVX512F AVX512CD AVX512_SKX {_BEYOND_V4} X86_V4"
# From the one that most machines have to the best one.
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
# What also decides, and is never set: other names of the same settings, hints, sizes of blocks, and lower precision behind the model's back.
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
# Shown to people who have to set them by hand.
_RELEVANT = sorted({*_UNSET, _TUNABLES, *(name for level in LEVELS.values() for name in level.variables)})


def best_level(cpuinfo: str | None = None) -> str:
    """The best level that a processor has; empty if it has none, and then nothing is pinned.

    Args:
        cpuinfo: text of /proc/cpuinfo; default is this machine's.
    """
    flags = _flags(cpuinfo)
    return next((name for name, level in reversed(LEVELS.items()) if level.flags <= flags), "")


def _flags(cpuinfo: str | None) -> frozenset[str]:
    text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def require(level: str, cpuinfo: str | None = None) -> None:
    """Raises UnavailableLevel, saying what to do, unless the level exists and the processor has it. None at all ("") is always there."""
    if not level:
        return
    if level not in LEVELS:
        raise UnavailableLevel(f"there is no arithmetic {level!r}; choose {' or '.join(LEVELS)}")
    if missing := LEVELS[level].flags - _flags(cpuinfo):
        have = best_level(cpuinfo)
        advice = f"start the run with --arithmetic {have}, or use other machines" if have else "use other machines"
        raise UnavailableLevel(f"the run computes with the arithmetic {level}, and this machine's processor lacks {', '.join(sorted(missing))}; {advice}")


def requested_level(environment: Mapping[str, str]) -> str:
    """The level that PANGEA_ARITHMETIC names, or the best one of this machine.

    Raises:
        UnavailableLevel: this machine does not have it.
    """
    level = environment.get(VARIABLE, "")
    require(level)
    return level or best_level()


def pin(environment: Mapping[str, str], level: str) -> dict[str, str]:
    """The environment of a process that computes with this level, whatever else `environment` says. With the level "" it stays as it is."""
    if not level:
        return dict(environment)
    tunables = ":".join(item for item in environment.get(_TUNABLES, "").split(":") if item and not item.startswith("glibc.cpu."))
    kept = {name: value for name, value in environment.items() if name not in _RELEVANT}
    return {**kept, **LEVELS[level].variables, **({_TUNABLES: tunables} if tunables else {}), VARIABLE: level}


def _needed_changes(environment: Mapping[str, str], level: str) -> dict[str, str | None]:
    """What decides about the bits and has to be another value, or None for unset, to be pinned."""
    pinned = pin(environment, level)
    return {name: pinned.get(name) for name in _RELEVANT if pinned.get(name) != environment.get(name)}


def _initial_environment() -> dict[str, str]:
    """The environment that this process was started with; what a script sets later comes too late for what it has loaded."""
    entries = [os.fsdecode(entry).partition("=") for entry in Path("/proc/self/environ").read_bytes().split(b"\0")]
    return {name: value for name, equals, value in entries if equals}


def is_pinned(level: str) -> bool:
    """Whether what this process has loaded computes with the level: it was started so, or pinned before it loaded anything."""
    return _pinned_in_process == level or not _needed_changes(_initial_environment(), level)


# The level that this process was pinned to after its start, before torch was there.
_pinned_in_process = ""


def pin_before_torch() -> None:
    """Pins this process if nothing is loaded yet that has read its variables; otherwise leaves it as it is.

    Raises:
        UnavailableLevel: this machine does not have the level that PANGEA_ARITHMETIC names.
    """
    global _pinned_in_process
    level = requested_level(os.environ)
    # The C library has read its own at the start of the process.
    if not is_pinned(level) and not _READ_WHEN_LOADED & sys.modules.keys() and _TUNABLES not in _needed_changes(_initial_environment(), level):
        _pinned_in_process = level
        pinned = pin(os.environ, level)
        for name in _needed_changes(os.environ, level):
            os.environ.pop(name, None)
        os.environ.update(pinned)


def pinned_level() -> str:
    """The level that this process is pinned to; "" if to none."""
    level = os.environ.get(VARIABLE, "")
    return level if level in LEVELS and is_pinned(level) else ""


def ensure_pinned() -> str:
    """Pins this process to the level of PANGEA_ARITHMETIC, or to the best one of this machine; gives the level in force.

    A script that has torch loaded already is started again, once. Under pytest, and on processors without any level, nothing is pinned, and the answer is "".

    Raises:
        UnavailableLevel: this machine does not have the level.
        NotPinned: it is too late, and the script cannot be started again; the message says how to start it.
    """
    pin_before_torch()
    level = requested_level(os.environ)
    if is_pinned(level):
        return level
    if "pytest" in sys.modules:
        return ""
    if (hindrance := _restart_obstacle()) is not None:
        raise NotPinned(
            f"torch or numpy was loaded before the arithmetic {level} was pinned, and this process cannot be started again: {hindrance}. Start the script with `pangea train` or "
            f"`pangea worker`, call pangea.seed_everything before torch is imported, or start this process as: {_pinned_command(level)} ..."
        )
    _restart(level)


def _pinned_command(level: str) -> str:
    """What starts a process with this one's environment, but pinned."""
    changes = _needed_changes(_initial_environment(), level).items()
    unset = [word for name, value in changes if value is None for word in ("-u", name)]
    return shlex.join(["env", *unset, *(f"{name}={value}" for name, value in changes if value is not None), f"{VARIABLE}={level}"])


def _restart_obstacle() -> str | None:
    """Why this process cannot be replaced by a new one that runs the same script; None if it can."""
    if os.environ.get(_RESTARTED) == str(os.getpid()):
        return "it was once, and something on the way set the variables again"
    script = sys.orig_argv[1:]
    if hasattr(sys, "ps1") or sys.flags.interactive or "ipykernel" in sys.modules:
        return "it is interactive"
    if not script or script[-1] == "-" or not (hasattr(sys.modules["__main__"], "__file__") or "-c" in script):
        return "its script came through the standard input"
    parent = getattr(sys.modules.get("multiprocessing.process"), "parent_process", lambda: None)
    if parent() is not None:
        return "it is a child of multiprocessing"
    if others := [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]:
        return f"it has other threads ({', '.join(others)})"
    return None


def _restart(level: str) -> NoReturn:
    print(f"pangea: starts {Path(sys.argv[0]).name or 'the script'} again, with the arithmetic {level} pinned before torch is loaded", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # The number of the process stays, so that a child which inherits the mark may be started again in its turn.
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**pin(os.environ, level), _RESTARTED: str(os.getpid())})
