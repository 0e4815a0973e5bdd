"""Pangea: train PyTorch models on many machines. Kill anything, same bits, every sample once.

pangea.seed_everything()
model = ...
optimizer = torch.optim.AdamW(model.parameters())
run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
run.finish()

Names are imported on first use, so that commands which only read files or probe addresses do not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pangea.arithmetic import pin_before_torch
from pangea.release import RELEASE
from pangea.torch_version import missing_torch

if TYPE_CHECKING:
    from pangea._native import PeerError, WireError
    from pangea.errors import BrokenPromise, MisusedRun, PangeaError
    from pangea.loading.canonical import UnhashableBatch
    from pangea.loading.fetch import LoadingFailed
    from pangea.training.determinism import NondeterministicOperation, seed_everything
    from pangea.training.optimizer import Step, UnsupportedOptimizer
    from pangea.training.snapshot import BadSnapshot
    from pangea.training.tensors import UnsupportedModel
    from pangea.worker.batches import Batch
    from pangea.worker.join import join
    from pangea.worker.run import Run
    from pangea.worker.shard_loop import NotFinite
    from pangea.worker.worker import RunDiverged

__version__ = RELEASE

__all__ = [
    "BadSnapshot",
    "Batch",
    "BrokenPromise",
    "LoadingFailed",
    "MisusedRun",
    "NondeterministicOperation",
    "NotFinite",
    "PangeaError",
    "PeerError",
    "Run",
    "RunDiverged",
    "Step",
    "UnhashableBatch",
    "UnsupportedModel",
    "UnsupportedOptimizer",
    "WireError",
    "join",
    "seed_everything",
]

_MODULES = {
    "BadSnapshot": "training.snapshot",
    "Batch": "worker.batches",
    "BrokenPromise": "errors",
    "LoadingFailed": "loading.fetch",
    "MisusedRun": "errors",
    "NondeterministicOperation": "training.determinism",
    "NotFinite": "worker.shard_loop",
    "PangeaError": "errors",
    "PeerError": "_native",
    "Run": "worker.run",
    "RunDiverged": "worker.worker",
    "Step": "training.optimizer",
    "UnhashableBatch": "loading.canonical",
    "UnsupportedModel": "training.tensors",
    "UnsupportedOptimizer": "training.optimizer",
    "WireError": "_native",
    "join": "worker.join",
    "seed_everything": "training.determinism",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pangea' has no attribute {name!r}")
    # Until torch is loaded, its kernels can still be chosen without restarting the process.
    pin_before_torch()
    try:
        value = getattr(importlib.import_module(f"pangea.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise missing_torch() from None
    # Cached, so that this function is not called again for the name.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
