"""Gates: named points of a training script at which a worker stands still until the test opens its gate.

The test and the worker share only a folder and environment variables:

- GATE_DIR: the worker NAME announces itself as GATE_DIR/NAME.reached and waits for GATE_DIR/NAME.open.
- GATE_STEP: the worker stops at the first batch of this step, or of the first later step that it takes part in.
- COMPUTED_DIR: a file NAME in it gets a line with the step of each batch that the worker computes.
"""

from __future__ import annotations

import os
from pathlib import Path

from tools.processes.waiting import eventually


class Gates:
    """The test's side: all gates of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def environment(self, step: int) -> dict[str, str]:
        """What a worker has to be told; it passes every gate if `step` is -1."""
        return {"GATE_DIR": str(self._folder), "GATE_STEP": str(step)}

    def is_reached(self, name: str) -> bool:
        """Whether this worker stands at its gate, or has passed it."""
        return (self._folder / f"{name}.reached").exists()

    def is_any_reached(self) -> bool:
        """Whether any worker stands at its gate, or has passed it."""
        return any(self._folder.glob("*.reached"))

    def open(self, name: str) -> None:
        """Lets this worker continue, even if it arrives later."""
        (self._folder / f"{name}.open").touch()

    def hang_next_donor(self) -> None:
        """Makes the next worker that is asked for its state hang, until `free`."""
        (self._folder / "hang").touch()

    def is_hanging(self, name: str) -> bool:
        """Whether this worker was asked for its state and hangs."""
        return (self._folder / f"{name}.hanging").exists()

    def free(self, name: str) -> None:
        """Lets a hanging worker continue."""
        (self._folder / f"{name}.freed").touch()


def pass_gate(step: int) -> None:
    """The worker's side: called for each batch, waits once at the gate."""
    name, wanted = os.environ["PANGEA_WORKER_NAME"], int(os.environ.get("GATE_STEP", "-1"))
    if computed := os.environ.get("COMPUTED_DIR"):
        with (Path(computed) / name).open("a") as stream:
            stream.write(f"{step}\n")
    if wanted < 0 or step < wanted:
        return
    folder = Path(os.environ["GATE_DIR"])
    (folder / f"{name}.reached").touch()
    eventually((folder / f"{name}.open").exists, f"the test opens the gate of {name}")


def hang_if_told() -> None:
    """The worker's side of `hang_next_donor`: stands still in the main thread, while heartbeats continue."""
    if "GATE_DIR" not in os.environ:
        return
    folder, name = Path(os.environ["GATE_DIR"]), os.environ["PANGEA_WORKER_NAME"]
    try:
        # The rename succeeds for one worker only.
        (folder / "hang").rename(folder / f"{name}.hanging")
    except FileNotFoundError:
        return
    eventually((folder / f"{name}.freed").exists, f"the test frees {name}")
