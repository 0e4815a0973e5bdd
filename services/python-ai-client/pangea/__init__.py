"""Pangea: train PyTorch models on many machines. Kill anything, same bits, every sample once.

pangea.seed_everything()
model = ...
optimizer = torch.optim.AdamW(model.parameters())
run = pangea.join(model, optimizer)
for batch in run.batches():
    run.step(loss_fn(model(batch.x), batch.y))
run.finish()
"""

from pangea._native import PeerError, WireError
from pangea.batches import Batch
from pangea.determinism import NondeterministicOperation, seed_everything
from pangea.gradients import UnsupportedModel
from pangea.run import MisusedRun, Run, join
from pangea.snapshot import BadSnapshot
from pangea.training import UnsupportedOptimizer
from pangea.worker import RunDiverged

__all__ = [
    "BadSnapshot",
    "Batch",
    "MisusedRun",
    "NondeterministicOperation",
    "PeerError",
    "Run",
    "RunDiverged",
    "UnsupportedModel",
    "UnsupportedOptimizer",
    "WireError",
    "join",
    "seed_everything",
]
