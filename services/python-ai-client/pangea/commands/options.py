"""Options that several commands share, and the arguments of the user's script after `--`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pangea import datasets
from pangea.arithmetic import LEVELS, VARIABLE, best_level
from pangea.contract import MAX_BATCH_SIZE, MAX_SHARDS
from pangea.identity.directory import VARIABLE as IDENTITY_VARIABLE
from pangea.launch.settings import Settings
from pangea.places import caller_folder, example

_SCRIPT_ARGUMENTS = "pangea.script_arguments"


def _identity(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    return caller_folder() / value if value is not None else None


identity_option = click.option(
    "--identity",
    envvar=IDENTITY_VARIABLE,
    show_envvar=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    callback=_identity,
    help="The folder with the certificate by which this process is known, as pangea certs issue makes it.",
)


class ScriptCommand(click.Command):
    """A command that passes the arguments after `--` to the training script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the arguments before `--`, and stores those after it."""
        if "--" in args:
            cut = args.index("--")
            ctx.meta[_SCRIPT_ARGUMENTS] = tuple(args[cut + 1 :])
            args = args[:cut]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Adds the script's arguments to the usage line of the help."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS OF SCRIPT]"]


def script_arguments(context: click.Context) -> tuple[str, ...] | None:
    """The arguments after `--`; None if there was no `--`."""
    return context.meta.get(_SCRIPT_ARGUMENTS)


def script_path(script: Path | None) -> Path:
    """The path of the training script; None stands for the example.

    Raises:
        click.BadParameter: there is no such file.
    """
    path = (caller_folder() / script).resolve() if script is not None else example("digits.py")
    if not path.is_file():
        raise click.BadParameter(f"there is no file {path}", param_hint="SCRIPT")
    return path


def _power_of_two(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    if not 1 <= value <= MAX_SHARDS or value & (value - 1):
        raise click.BadParameter(f"{value} is not a power of two from 1 to {MAX_SHARDS}")
    return value


def _gpus(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if value > 1 and value != int(value):
        raise click.BadParameter(f"{value:g} is neither a whole number nor a part of one GPU")
    return value


def _dataset(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value == Settings.dataset:
        return value
    try:
        return datasets.parse(value).spec
    except datasets.UnknownDataset as error:
        raise click.BadParameter(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error


_SHARED = (
    click.option(
        "--workers", type=click.IntRange(1, 256), default=Settings.workers, show_default=True, help="Worker processes."
    ),
    click.option(
        "--data-replicas",
        type=click.IntRange(1, 16),
        default=Settings.data_replicas,
        show_default=True,
        help="Processes that serve the data.",
    ),
    click.option(
        "--dataset",
        default=Settings.dataset,
        show_default=True,
        callback=_dataset,
        metavar="SPEC",
        help="What is trained on, such as csv:points.csv,shape=2; docs/how-to/data.md lists all formats.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, MAX_BATCH_SIZE),
        default=Settings.batch_size,
        show_default=True,
        help="Samples per step, over all workers.",
    ),
    click.option(
        "--shards",
        type=int,
        default=Settings.shards,
        show_default=True,
        callback=_power_of_two,
        help="Micro-batches per step; a power of two.",
    ),
    click.option(
        "--min-shard-samples",
        type=click.IntRange(0, MAX_BATCH_SIZE),
        default=Settings.min_shard_samples,
        show_default=True,
        help="A step with fewer samples per shard is cut into fewer shards.",
    ),
    click.option(
        "--drop-last",
        is_flag=True,
        default=Settings.drop_last,
        help="End each epoch with its last full step, and leave out the remaining samples.",
    ),
    click.option(
        "--arithmetic",
        envvar=VARIABLE,
        show_envvar=True,
        type=click.Choice(list(LEVELS)),
        callback=lambda _context, _parameter, value: value or best_level(),
        help="The instruction set that all workers compute with.  [default: the best one of this machine]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, (1 << 63) - 1),
        default=Settings.seed,
        show_default=True,
        help="Seed of the initial parameters, the sample order and all random numbers.",
    ),
    click.option(
        "--checkpoint-seconds",
        type=click.FloatRange(0, 1e9),
        default=Settings.checkpoint_seconds,
        show_default=True,
        help="Seconds between two checkpoints; 0 for none by time.",
    ),
    click.option(
        "--verify-fraction",
        type=click.FloatRange(0, 1),
        default=Settings.verify_fraction,
        show_default=True,
        help="Fraction of the shards that two workers compute, to compare their bits.",
    ),
    click.option(
        "--rehearse",
        type=click.FloatRange(0, 1),
        default=Settings.rehearse,
        show_default=True,
        help="Fraction of the shards that are computed a second time in a different order, to test the script.",
    ),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(0, 64),
        default=Settings.gpus_per_worker,
        show_default=True,
        callback=_gpus,
        help="GPUs that each worker sees, or 0.5 for two workers on one; 0 for all.",
    ),
    click.option(
        "--strict/--allow-nondeterminism",
        default=Settings.strict,
        show_default=True,
        help=(
            "End the run on unresolved different bits, and refuse operations without a deterministic implementation; or"
            " allow both, and lose the promise of the same bits."
        ),
    ),
)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with the options for what is trained, and with how many processes."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


_TRAINING = (
    click.option(
        "--epochs",
        type=click.IntRange(1, 1 << 31),
        default=Settings.epochs,
        show_default=True,
        help="Passes over the data; resuming may increase it.",
    ),
    click.option(
        "--checkpoint-steps",
        type=click.IntRange(0),
        default=Settings.checkpoint_steps,
        show_default=True,
        help="Steps between two checkpoints; 0 for none by steps.",
    ),
    click.option(
        "--keep-checkpoints",
        type=click.IntRange(1),
        default=Settings.keep_checkpoints,
        show_default=True,
        help="How many of the newest checkpoints are kept.",
    ),
    click.option(
        "--straggler-k",
        type=click.FloatRange(0),
        default=Settings.straggler_k,
        show_default=True,
        help="A shard is late after median + K * MAD of the others.",
    ),
)


def training(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with all options of `Settings` except --run-dir and --take-changes."""
    for option in reversed(_TRAINING):
        function = option(function)
    return shared(function)
