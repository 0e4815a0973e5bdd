"""What a program is told, what it answers, and how several of them start at once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import threadpoolctl
import torch


def read() -> dict[str, Any]:
    """The job that the command line names."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


def answer(job: dict[str, Any], **result: Any) -> None:
    """Writes the result."""
    Path(job["result"]).write_text(json.dumps(result))


def use_one_thread() -> None:
    """Bounds torch and the BLAS below it, as a worker of Pangea does."""
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1, user_api="blas")


def meet(job: dict[str, Any]) -> None:
    """Waits until all of the job's `world` programs are here, without a library of theirs that would stay in the process."""
    folder = Path(job["folder"])
    (folder / f"{job['rank']}.here").touch()
    while len(list(folder.glob("*.here"))) < job["world"]:
        time.sleep(0.001)


def join_gloo(job: dict[str, Any]) -> None:
    """Makes the `world` programs one Gloo group that meets over a file, so that no port has to be free."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{job['folder']}/gloo", rank=job["rank"], world_size=job["world"])
