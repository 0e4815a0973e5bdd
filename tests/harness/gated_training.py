"""A training script that stops at a named point until a test lets it go on.

GATE_STEP: at the first batch of this step (or a later one) the worker writes the file GATE_DIR/NAME.reached and waits for GATE_DIR/NAME.open.
COMPUTED_DIR: where NAME gets a line with the step of each batch that the worker computes.
"""

import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import pangea
from pangea.children import wait_for


def pass_gate(step: int) -> None:
    """Waits at the gate, once."""
    name, wanted = os.environ["PANGEA_WORKER_NAME"], int(os.environ.get("GATE_STEP", "-1"))
    if computed := os.environ.get("COMPUTED_DIR"):
        with (Path(computed) / name).open("a") as stream:
            stream.write(f"{step}\n")
    if wanted < 0 or step < wanted:
        return
    folder = Path(os.environ["GATE_DIR"])
    (folder / f"{name}.reached").touch()
    if wait_for(lambda: (folder / f"{name}.open").exists() or None, timeout=120) is None:
        raise TimeoutError(f"nobody opened the gate of {name}")


def main() -> None:
    """Trains a small network with dropout."""
    pangea.seed_everything()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    run = pangea.join(model, optimizer)
    for batch in run.batches():
        pass_gate(batch.step)
        run.step(functional.cross_entropy(model(batch.x), batch.y))
    run.finish()


if __name__ == "__main__":
    main()
