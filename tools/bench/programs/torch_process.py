"""How programs set torch up: with one thread, and as one group."""

from __future__ import annotations

from typing import Any

import threadpoolctl
import torch


def use_one_thread() -> None:
    """Bounds torch and the BLAS below it, as a worker of Pangea does."""
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1, user_api="blas")


def join_gloo(job: dict[str, Any]) -> None:
    """Makes the job's `world` programs one Gloo group that meets over a file, so that no port has to be free."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{job['folder']}/gloo", rank=job["rank"], world_size=job["world"])
