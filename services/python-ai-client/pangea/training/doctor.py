"""The checks of `pangea doctor`: whether this machine can train, and to the same bits as others."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pangea import arithmetic
from pangea.places import caller_folder, data_file, program
from pangea.torch_version import TRIED, untried_version
from pangea.training.determinism import configure_torch, describe_software
from pangea.training.devices.choose import device_at_hand
from pangea.training.devices.settings import describe_device
from pangea.training.fingerprints import fingerprints, summary


@dataclass(frozen=True)
class Finding:
    """The result of one check. `ok` is None for information that is neither good nor bad."""

    name: str
    value: str
    ok: bool | None


def reference_hash(device: torch.device | None = None) -> str:
    """Returns one hash over all fingerprints. Machines with equal hashes train to the same bits.

    Args:
        device: with which the operators are computed as well; default: only the CPU.
    """
    configure_torch()
    return summary(fingerprints(device)).hex()


def _torch_version() -> Finding:
    warning = untried_version(torch.__version__)
    return Finding("torch version", warning or f"one that Pangea was tried with ({TRIED})", None if warning else True)


def _determinism(device: torch.device | None = None) -> str:
    first, second = reference_hash(device), reference_hash(device)
    if first != second:
        raise RuntimeError(f"two identical computations gave {first[:12]} and {second[:12]}")
    return f"reference hash {first[:16]}"


def _arithmetic() -> str:
    level, best = arithmetic.pinned_level(), arithmetic.best_level()
    if not level:
        return "not pinned: this processor has none of " + ", ".join(arithmetic.LEVELS) if not best else "not pinned"
    return (
        f"{level} ({'the best of this machine' if level == best else f'this machine also has {best}'}); to check"
        f" another one: {arithmetic.VARIABLE}=LEVEL pangea doctor"
    )


def _operators() -> str:
    return " ".join(f"{name}={value.hex()[:8]}" for name, value in fingerprints().items())


def _native() -> str:
    return str(importlib.import_module("pangea._native").__file__)


def _loopback() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"free ports, such as {server.getsockname()[1]}"


def _disk() -> str:
    free = shutil.disk_usage(caller_folder()).free / (1 << 30)
    if free < 1:
        raise RuntimeError(f"{free:.1f} GiB free in {caller_folder()}; a run needs at least 1")
    return f"{free:.0f} GiB free in {caller_folder()}"


def _memory() -> str:
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / (1 << 30):.1f} GiB unused"


def _gpu() -> str:
    """Describes the GPU, and computes the operators with it twice."""
    configure_torch()
    device = device_at_hand()
    return (
        "none: models are trained on the CPU"
        if device is None
        else f"{describe_device(device)}; {_determinism(device)}"
    )


def examine() -> list[Finding]:
    """Checks everything that a run on this machine needs."""
    checks: list[tuple[str, Callable[[], object]]] = [
        ("torch", describe_software),
        ("GPU", _gpu),
        ("arithmetic", _arithmetic),
        ("same bits twice", _determinism),
        ("fingerprints", _operators),
        ("native module", _native),
        ("go-orchestrator", lambda: program("go-orchestrator")),
        ("rust-compute", lambda: program("rust-compute")),
        ("digits data", lambda: data_file("digits.csv.gz")),
        ("loopback", _loopback),
        ("disk", _disk),
        ("memory", _memory),
        ("cores", lambda: len(os.sched_getaffinity(0))),
    ]
    findings = [_torch_version()]
    for name, check in checks:
        try:
            findings.append(Finding(name, str(check()), True))
        except Exception as error:  # a failed check must not hide the others
            findings.append(Finding(name, str(error), False))
    return findings
