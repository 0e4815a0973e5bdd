"""The training script of most tests, whose worker can be made to stop at a gate, to hang, to lie, or to forget.

- GATE_STEP, GATE_DIR, COMPUTED_DIR: see tests/harness/gates.py.
- LIE_FROM_STEP: from this step on every gradient is wrong by LIE_FACTOR (1.001 by default), as from a faulty
  processor. With nan as the factor the gradient is NaN while the loss is a number.
- HIDDEN: neurons of the hidden layer (32 by default).
- FLIP_AFTER_STEP: once this step is applied, one parameter changes by itself, once, as in faulty memory.
"""

import itertools
import math
import os

import torch
from torch import nn
from torch.nn import functional

import pangea
from tests.harness.gates import hang_if_told, pass_gate


def lie(loss: torch.Tensor, model: nn.Module, factor: float) -> torch.Tensor:
    """A loss with a wrong gradient."""
    if math.isnan(factor):
        # Adds 0, whose gradient is 0 * infinity.
        return loss + (next(model.parameters()).sum() * 0).sqrt()
    return loss * factor


def main() -> None:
    """Trains a small network with dropout and batch normalisation."""
    lie_from, flip_after = (int(os.environ.get(name, "-1")) for name in ("LIE_FROM_STEP", "FLIP_AFTER_STEP"))
    factor = float(os.environ.get("LIE_FACTOR", "1.001"))
    pangea.seed_everything()
    hidden = int(os.environ.get("HIDDEN", "32"))
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    applied = itertools.count()

    def flip(*_: object) -> None:
        if next(applied) == flip_after:
            # Through memory that torch does not track.
            next(model.parameters()).detach().numpy()[0, 0] += 1.0

    optimizer.register_step_post_hook(flip)
    optimizer.register_state_dict_pre_hook(lambda *_: hang_if_told())
    run = pangea.join(model, optimizer)
    run.after_step(lambda step: run.log(applied=step.number))
    for batch in run.batches():
        pass_gate(batch.step)
        scores = model(batch.x)
        loss = functional.cross_entropy(scores, batch.y)
        run.log(accuracy=(scores.argmax(1) == batch.y).double().mean())
        run.step(lie(loss, model, factor) if 0 <= lie_from <= batch.step else loss)
    run.finish()


if __name__ == "__main__":
    main()
