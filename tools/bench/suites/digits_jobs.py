"""The digits example as a whole job: `pangea train` with its services, and what one would start with torch alone."""

from __future__ import annotations

import sys
from pathlib import Path

from pangea.services.child import Child
from tools.bench import processes

BATCH_SIZE = 64


def pangea(folder: Path, workers: int, epochs: int) -> Child:
    """The command, with a run in `folder`/run."""
    options = {"workers": workers, "epochs": epochs, "batch-size": BATCH_SIZE, "run-dir": folder / "run"}
    words = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return processes.command("pangea", folder, [sys.executable, "-m", "pangea", "train", *words])


def torch(folder: Path, count: int, epochs: int, *, checkpoint: bool = False) -> Child:
    """A plain script, or torchrun with so many processes of it that are all started again when one dies."""
    job = {"epochs": epochs, "batch_size": BATCH_SIZE, "checkpoint": checkpoint}
    if count == 1:
        return processes.start("digits_torch", folder, 0, job)
    # --max-restarts: as often as it takes.
    return processes.start(
        "digits_torch",
        folder,
        0,
        job,
        through=["torchrun", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={count}", "--max-restarts=9"],
    )
