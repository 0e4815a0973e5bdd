"""The settings of a run: the options of `pangea train`, and launch.json, which stores them in the run directory."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.datasets import DEFAULT, of_earlier_release
from pangea.errors import PangeaError
from pangea.foreign import UnreadableFile, read_object
from pangea.printable import quoted
from pangea.release import RELEASE
from pangea.rundir.atomic_file import explain_disk_errors, write_atomically
from pangea.services.options import REHEARSE, RunOptions

LAUNCH_FILE = "launch.json"
_FORMAT = 2


@dataclass(frozen=True)
class Settings(RunOptions):
    """The options of `pangea train`: those of the orchestrator, and these.

    Attributes:
        script: the training script, which every worker runs.
        arguments: the script's command line arguments.
        workers, data_replicas: numbers of processes.
        dataset: a dataset spec.
        rehearse: fraction of the shards that a worker computes a second time in a different order, to detect state that
            a script carries over from one shard to the next.
        gpus_per_worker: GPUs that a worker sees: a whole number, or the part of one that it shares; 0: all.
        arithmetic: a level of `pangea.arithmetic`; "" on a machine that has none.
        run_dir: the run directory, relative to the caller's folder; None for a new one.
    """

    script: Path
    arguments: tuple[str, ...] = ()
    workers: int = 2
    dataset: str = DEFAULT
    data_replicas: int = 1
    rehearse: float = REHEARSE
    gpus_per_worker: float = 0.0
    arithmetic: str = ""
    run_dir: str | None = None

    @property
    def run_options(self) -> RunOptions:
        """The options of the orchestrator."""
        return RunOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(RunOptions)})


# Settings on which the results depend, so that they never change. `pangea.launch.resume` decides about the others.
FIXED = ("batch_size", "shards", "seed", "min_shard_samples", "drop_last", "arithmetic")
# Modules that train on the data of a framework's loaders.
_FRAMEWORKS = ("pangea.lightning", "pangea.transformers")
# Given with every start, and therefore not stored.
_NOT_STORED = ("run_dir", "take_changes")


class UnusableLaunchFile(PangeaError, ValueError):
    """launch.json was not written by a release that this one is compatible with."""


@dataclass(frozen=True)
class Launch:
    """The content of launch.json.

    Attributes:
        settings: those of the last start.
        run_id: the run's name.
        script_sha256: the hash of the script at the first start.
    """

    settings: Settings
    run_id: str
    script_sha256: str


def write_launch(run_dir: Path, launch: Launch) -> None:
    """Replaces launch.json atomically.

    Raises:
        DiskError: it cannot be written.
    """
    fields = {name: value for name, value in dataclasses.asdict(launch.settings).items() if name not in _NOT_STORED}
    content = {
        "format": _FORMAT,
        "release": RELEASE,
        "run_id": launch.run_id,
        "script_sha256": launch.script_sha256,
        **fields,
        "script": str(launch.settings.script),
    }
    with explain_disk_errors(
        f"cannot write {run_dir / LAUNCH_FILE}", "free some space on that disk, or choose another --run-dir"
    ):
        write_atomically(run_dir / LAUNCH_FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_launch(run_dir: Path) -> Launch:
    """Reads the launch.json of a run.

    Raises:
        FileNotFoundError: it does not exist.
        UnusableLaunchFile: it cannot be used; the message says why.
    """
    file = run_dir / LAUNCH_FILE
    try:
        content = read_object(file)
        number = content.pop("format")
        if type(number) is not int or (number not in _OLDER and number != _FORMAT):
            raise UnusableLaunchFile(
                f"{file} has format {quoted(number)}, and this release reads 1 to {_FORMAT}; resume the run with the"
                " release that started it"
            )
        # Only informative, and missing in files of earlier releases.
        content.pop("release", None)
        run_id, script_sha256 = _text(content.pop("run_id")), _text(content.pop("script_sha256"))
        content["dataset"] = of_earlier_release(content["dataset"])
        content["script"], content["arguments"] = Path(_text(content["script"])), tuple(content["arguments"])
        content = _OLDER[number](content) if number in _OLDER else content
        return Launch(_checked(Settings(**content, run_dir=str(run_dir))), run_id, script_sha256)
    except (KeyError, TypeError, AttributeError, UnreadableFile) as error:
        raise UnusableLaunchFile(
            f"{file} is not a launch file of this release ({error}); resume the run with the release that started it"
        ) from error


def _text(value: object) -> str:
    # No path and no argument of a process has a NUL.
    if type(value) is not str or "\0" in value:
        raise TypeError(f"{quoted(value)} is not a text")
    return value


def _checked(settings: Settings) -> Settings:
    """The settings, if each has the type of its default: JSON has only numbers, and may have them anywhere.

    Raises:
        TypeError: one has not.
    """
    for field in dataclasses.fields(Settings):
        value, default = getattr(settings, field.name), field.default
        if isinstance(default, float) and type(value) in (int, float):
            continue
        if default is not dataclasses.MISSING and default is not None and type(value) is not type(default):
            raise TypeError(f"{field.name} is {quoted(value)}")
    for text in (settings.dataset, settings.arithmetic, *settings.arguments):
        _text(text)
    return settings


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had no minimum of samples per shard, and the opposite of `strict`."""
    strict = not content.pop("allow_nondeterminism")
    return {**content, "strict": strict, "min_shard_samples": 0, "drop_last": False}


# Converters from older formats, by format number.
_OLDER = {1: _from_format_1}


def script_hash(script: Path) -> str:
    """SHA-256 of the script's file, in hexadecimal."""
    return hashlib.sha256(script.read_bytes()).hexdigest()


def brings_dataset(script: Path) -> bool:
    """Whether a script seems to have a dataset of its own, by its text: what it gives `pangea.join`, or a framework."""
    try:
        nodes = list(ast.walk(ast.parse(script.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return False
    calls = [node for node in nodes if isinstance(node, ast.Call) and _is_join(node)]
    return any(keyword.arg in ("dataset", None) for call in calls for keyword in call.keywords) or any(
        name in _FRAMEWORKS for node in nodes for name in _imported(node)
    )


def _is_join(call: ast.Call) -> bool:
    return (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) == "join"


def _imported(node: ast.AST) -> list[str]:
    """The names of modules that a statement imports, or could."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
