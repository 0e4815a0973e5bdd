"""The machine and the software that something was measured with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import torch


def describe(workspace: Path | None) -> dict[str, Any]:
    """Time (UTC), processor, cores, load average of one minute, memory, and versions of what is measured; `commit` is empty outside of a git repository."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_kib": int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+) kB$")),
        "load": os.getloadavg()[0],
        "system": platform.release(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__},
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "commit": _commit(workspace),
        "command": sys.argv[1:],
    }


def _first(file: str, pattern: str) -> str:
    found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    return found.group(1) if found else "0"


def _commit(workspace: Path | None) -> str:
    """The commit, with a + if files differ from it."""
    if workspace is None:
        return ""
    try:
        command = ["git", "-C", str(workspace), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
