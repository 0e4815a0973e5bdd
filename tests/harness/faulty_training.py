"""A training script of which a test can make a worker that hangs, lies or has a bad memory.

GATE_STEP, GATE_DIR: as in tests/harness/gated_training.py.
LIE_FROM_STEP: from this step on every gradient is wrong by LIE_FACTOR (a little), as that of a broken processor; with nan a gradient is no number
while the loss is one.
FLIP_AFTER_STEP: when this step has been applied one parameter changes by itself, once, as in a broken memory.
GATE_DIR/hang: the first worker that is to give its state while this file is there takes it away, as NAME.hanging, and hangs until NAME.freed is there.
"""

import itertools
import math
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import pangea
from pangea.children import wait_for
from tests.harness.gated_training import pass_gate


def hang(*_: object) -> None:
    """Stands still where a test wants it; the worker's heart beats on."""
    folder, name = Path(os.environ["GATE_DIR"]), os.environ["PANGEA_WORKER_NAME"]
    try:
        (folder / "hang").rename(folder / f"{name}.hanging")
    except FileNotFoundError:
        return
    if wait_for(lambda: (folder / f"{name}.freed").exists() or None, timeout=120) is None:
        raise TimeoutError(f"nobody lets {name} go on")


def lie(loss: torch.Tensor, model: nn.Module, factor: float) -> torch.Tensor:
    """A loss whose gradient is wrong."""
    if math.isnan(factor):
        # Adds 0, whose gradient is 0 * infinity.
        return loss + (next(model.parameters()).sum() * 0).sqrt()
    return loss * factor


def main() -> None:
    """Trains a small network with dropout and batch normalisation."""
    lie_from, flip_after = (int(os.environ.get(name, "-1")) for name in ("LIE_FROM_STEP", "FLIP_AFTER_STEP"))
    factor = float(os.environ.get("LIE_FACTOR", "1.001"))
    pangea.seed_everything()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    applied = itertools.count()

    def flip(*_: object) -> None:
        if next(applied) == flip_after:
            # Through memory that torch does not watch.
            next(model.parameters()).detach().numpy()[0, 0] += 1.0

    optimizer.register_step_post_hook(flip)
    optimizer.register_state_dict_pre_hook(hang)
    run = pangea.join(model, optimizer)
    for batch in run.batches():
        pass_gate(batch.step)
        loss = functional.cross_entropy(model(batch.x), batch.y)
        run.step(lie(loss, model, factor) if 0 <= lie_from <= batch.step else loss)
    run.finish()


if __name__ == "__main__":
    main()
