"""What a run on this machine was asked to be: the options of `pangea train`, and launch.json, which keeps them beside the run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.datasets import DEFAULT, of_earlier_release
from pangea.errors import PangeaError
from pangea.release import RELEASE
from pangea.rundir.atomic_file import explain_disk_errors, write_atomically
from pangea.services.options import REHEARSE, RunOptions

LAUNCH_FILE = "launch.json"
_FORMAT = 2


@dataclass(frozen=True)
class Settings(RunOptions):
    """The options of `pangea train`: those of the orchestrator, and these.

    Attributes:
        script, arguments: what every worker runs, and with which arguments.
        workers, data_replicas: processes.
        dataset: as `pangea.datasets.parse` reads it.
        rehearse: share of the shards that a worker computes a second time in another order, to find state that a script carries from one to the next.
        arithmetic: a level of `pangea.arithmetic`; "" where the machine has none.
        run_dir: where the files go, relative to the caller's folder; None for a new folder with a name of its own.
    """

    script: Path
    arguments: tuple[str, ...] = ()
    workers: int = 2
    dataset: str = DEFAULT
    data_replicas: int = 1
    rehearse: float = REHEARSE
    arithmetic: str = ""
    run_dir: str | None = None

    @property
    def run_options(self) -> RunOptions:
        """The orchestrator's part."""
        return RunOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(RunOptions)})


# What is part of the arithmetic, whatever the user asks for. What else may change with a new start, `pangea.resume` decides.
FIXED = ("batch_size", "shards", "seed", "min_shard_samples", "drop_last", "arithmetic")
# Said anew with every start, so not kept.
_NOT_KEPT = ("run_dir", "take_changes")


class UnusableLaunchFile(PangeaError, ValueError):
    """launch.json is not one that this build has written."""


@dataclass(frozen=True)
class Launch:
    """launch.json, read: the settings of the last start, the run's name, and the hash of the script as it was at the first start."""

    settings: Settings
    run_id: str
    script_sha256: str


def write_launch(run_dir: Path, launch: Launch) -> None:
    """Replaces launch.json at once.

    Raises:
        DiskError: it cannot be written.
    """
    fields = {name: value for name, value in dataclasses.asdict(launch.settings).items() if name not in _NOT_KEPT}
    content = {"format": _FORMAT, "release": RELEASE, "run_id": launch.run_id, "script_sha256": launch.script_sha256, **fields, "script": str(launch.settings.script)}
    with explain_disk_errors(f"cannot write {run_dir / LAUNCH_FILE}", "make room on that disk, or choose another --run-dir"):
        write_atomically(run_dir / LAUNCH_FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_launch(run_dir: Path) -> Launch:
    """Reads launch.json.

    Raises:
        FileNotFoundError: there is none.
        UnusableLaunchFile: saying what is wrong with it.
    """
    file = run_dir / LAUNCH_FILE
    try:
        content: Any = json.loads(file.read_text())
        number = content.pop("format")
        if number not in _OLDER and number != _FORMAT:
            raise UnusableLaunchFile(f"{file} has format {number}, and this build reads 1 to {_FORMAT}; resume the run with the release that started it")
        # For people; a launch file of an earlier release has none.
        content.pop("release", None)
        run_id, script_sha256 = content.pop("run_id"), content.pop("script_sha256")
        content["dataset"] = of_earlier_release(content["dataset"])
        content["script"], content["arguments"] = Path(content["script"]), tuple(content["arguments"])
        content = _OLDER[number](content) if number in _OLDER else content
        return Launch(Settings(**content, run_dir=str(run_dir)), run_id, script_sha256)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableLaunchFile(f"{file} is not a launch file of this build ({error}); resume the run with the release that started it") from error


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """Steps were cut without a bound then, and `strict` was called by its opposite."""
    strict = not content.pop("allow_nondeterminism")
    return {**content, "strict": strict, "min_shard_samples": 0, "drop_last": False}


# What the fields of an older format mean, by its number.
_OLDER = {1: _from_format_1}


def script_hash(script: Path) -> str:
    """SHA-256 of the script's file, in hexadecimal."""
    return hashlib.sha256(script.read_bytes()).hexdigest()
