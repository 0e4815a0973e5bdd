"""Pangea: train PyTorch models on many machines. Kill anything, same bits, every sample once.

pangea.seed_everything()
model = ...
optimizer = torch.optim.AdamW(model.parameters())
run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
run.finish()

Each name is loaded when it is first used: the commands that only look at files or addresses must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pangea.arithmetic import pin_before_torch

if TYPE_CHECKING:
    from pangea._native import PeerError, WireError
    from pangea.batches import Batch
    from pangea.determinism import NondeterministicOperation, seed_everything
    from pangea.entry import join
    from pangea.errors import BrokenPromise, MisusedRun, PangeaError
    from pangea.run import NotFinite, Run
    from pangea.snapshot import BadSnapshot
    from pangea.tensors import UnsupportedModel
    from pangea.training import Step, UnsupportedOptimizer
    from pangea.worker import RunDiverged

__all__ = [
    "BadSnapshot",
    "Batch",
    "BrokenPromise",
    "MisusedRun",
    "NondeterministicOperation",
    "NotFinite",
    "PangeaError",
    "PeerError",
    "Run",
    "RunDiverged",
    "Step",
    "UnsupportedModel",
    "UnsupportedOptimizer",
    "WireError",
    "join",
    "seed_everything",
]

_MODULES = {
    "BadSnapshot": "snapshot",
    "Batch": "batches",
    "BrokenPromise": "errors",
    "MisusedRun": "errors",
    "NondeterministicOperation": "determinism",
    "NotFinite": "run",
    "PangeaError": "errors",
    "PeerError": "_native",
    "Run": "run",
    "RunDiverged": "worker",
    "Step": "training",
    "UnsupportedModel": "tensors",
    "UnsupportedOptimizer": "training",
    "WireError": "_native",
    "join": "entry",
    "seed_everything": "determinism",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pangea' has no attribute {name!r}")
    # While torch is not loaded yet, the kernels that it will use can still be chosen without a new start.
    pin_before_torch()
    value = getattr(importlib.import_module(f"pangea.{_MODULES[name]}"), name)
    # From now on found without this function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
