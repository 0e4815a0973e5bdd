"""How programs configure torch: with one thread, and as one group."""

from __future__ import annotations

from typing import Any

import threadpoolctl
import torch


def use_one_thread() -> None:
    """Limits the threads of torch and of the BLAS below it, as a worker of Pangea does."""
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1, user_api="blas")


def join_gloo(job: dict[str, Any]) -> None:
    """Joins the `world` programs of the job to one Gloo group that meets over a file, so that no free port is needed."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{job['folder']}/gloo", rank=job["rank"], world_size=job["world"]
    )
