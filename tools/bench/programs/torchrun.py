"""torchrun for a torch that was built without libuv: torchrun has no option to avoid it, so the default of torch's key-value store is changed."""

from __future__ import annotations

import functools
from typing import Any

import torch


def main() -> None:
    """Takes torchrun's arguments."""
    distributed: Any = torch.distributed
    distributed.TCPStore = functools.partial(distributed.TCPStore, use_libuv=False)
    # torchrun reads the name when it is imported.
    from torch.distributed import run

    run.main()


if __name__ == "__main__":
    main()
