"""How the batches of the script's own dataset are loaded; none of it changes a bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LoaderOptions:
    """The options of loading, named as those of torch's DataLoader.

    Attributes:
        processes: loader processes of this worker; with 0, the script's own process loads each batch when it is due.
        prefetch_factor: batches that each loader process loads ahead.
        worker_init_fn: called in each loader process with its number before it loads.
        pin_memory: whether tensors are copied to pinned memory, where a GPU is used.
        multiprocessing_context: "fork" (default), "spawn" or "forkserver", or such a context.
    """

    processes: int = 0
    prefetch_factor: int = 2
    worker_init_fn: Callable[[int], None] | None = None
    pin_memory: bool = False
    multiprocessing_context: Any = None

    def __post_init__(self) -> None:
        if self.processes < 0:
            raise ValueError(f"loader_processes is {self.processes}; it must be 0 (load in this process) or more")
        if self.prefetch_factor < 1:
            raise ValueError(f"prefetch_factor is {self.prefetch_factor}; it must be 1 or more")
