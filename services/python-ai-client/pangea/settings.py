"""What a run on this machine was asked to be: the options of `pangea train`, and launch.json, which keeps them beside the run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.files import write_atomically

LAUNCH_FILE = "launch.json"
_FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """The options of `pangea train`.

    Attributes:
        script, arguments: what every worker runs, and with which arguments.
        batch_size: samples of a whole step.
        shards: a power of two.
        dataset: as `pangea.datasets.parse` reads it.
        checkpoint_steps, checkpoint_seconds: between two checkpoints; 0 for none by that measure.
        arithmetic: a level of `pangea.arithmetic`; "" where the machine has none.
        run_dir: where the files go, relative to the caller's folder; None for a new folder with a name of its own.
    """

    script: Path
    arguments: tuple[str, ...] = ()
    workers: int = 2
    epochs: int = 10
    batch_size: int = 64
    shards: int = 8
    seed: int = 0
    dataset: str = "digits"
    data_replicas: int = 1
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 30.0
    keep_checkpoints: int = 3
    verify_fraction: float = 0.0
    straggler_k: float = 5.0
    allow_nondeterminism: bool = False
    arithmetic: str = ""
    run_dir: str | None = None


# What is part of the arithmetic: a run cannot go on with another value. The rest may change with every start.
FIXED = ("script", "arguments", "epochs", "batch_size", "shards", "seed", "dataset", "allow_nondeterminism", "arithmetic")


class UnusableLaunchFile(ValueError):
    """launch.json is not one that this build has written."""


@dataclass(frozen=True)
class Launch:
    """launch.json, read: the settings of the last start, the run's name, and the hash of the script as it was at the first start."""

    settings: Settings
    run_id: str
    script_sha256: str


def write_launch(run_dir: Path, launch: Launch) -> None:
    """Replaces launch.json at once."""
    fields = dataclasses.asdict(launch.settings)
    del fields["run_dir"]
    content = {"format": _FORMAT, "run_id": launch.run_id, "script_sha256": launch.script_sha256, **fields, "script": str(launch.settings.script)}
    write_atomically(run_dir / LAUNCH_FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_launch(run_dir: Path) -> Launch:
    """Reads launch.json.

    Raises:
        FileNotFoundError: there is none.
        UnusableLaunchFile: saying what is wrong with it.
    """
    file = run_dir / LAUNCH_FILE
    text = file.read_text()
    try:
        content: Any = json.loads(text)
        if content.pop("format") != _FORMAT:
            raise UnusableLaunchFile(f"{file} has another format than this build's ({_FORMAT}); resume the run with the release that started it")
        run_id, script_sha256 = content.pop("run_id"), content.pop("script_sha256")
        content["script"], content["arguments"] = Path(content["script"]), tuple(content["arguments"])
        return Launch(Settings(**content, run_dir=str(run_dir)), run_id, script_sha256)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UnusableLaunchFile(f"{file} is not a launch file of this build ({error}); resume the run with the release that started it") from error


def script_hash(script: Path) -> str:
    """SHA-256 of the script's file, in hexadecimal."""
    return hashlib.sha256(script.read_bytes()).hexdigest()
