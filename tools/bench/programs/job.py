"""The job and the answer of a program, and how several of them start at once. It does not import torch, which takes seconds to load and which some programs do not need."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def read() -> dict[str, Any]:
    """The job that the command line names."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


def answer(job: dict[str, Any], **result: Any) -> None:
    """Writes the result."""
    Path(job["result"]).write_text(json.dumps(result))


def meet(job: dict[str, Any]) -> None:
    """Waits until all `world` programs of the job are present, without a library that would stay in the process."""
    folder = Path(job["folder"])
    (folder / f"{job['rank']}.here").touch()
    while len(list(folder.glob("*.here"))) < job["world"]:
        time.sleep(0.001)
