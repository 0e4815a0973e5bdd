"""Finds the weights of a run that can be exported: those whose hash is in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pangea.errors import PangeaError
from pangea.foreign import open_regular
from pangea.ledger.checkpoint_file import is_valid_name, verify_checkpoint
from pangea.ledger.reader import NAME, LedgerDamaged, Reader
from pangea.ledger.records import Checkpoint, Finished, Model, Settings


class NothingToExport(PangeaError, ValueError):
    """There are no weights to export; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Exportable:
    """Weights that can be exported.

    Attributes:
        path: the file that contains them.
        step: the number of steps that were applied to them.
        sha256: of the file, which was verified, if it is a checkpoint; "" for the final weights of a run.
        tensors: the names of the trained tensors, in the order in which the run hashes them.
        params_hash: the hash of the parameters with which the run finished; "" for a checkpoint.
        content_hash: how that hash was computed.
    """

    path: Path
    step: int
    sha256: str
    tensors: tuple[str, ...]
    params_hash: str
    content_hash: str


def find_exportable(source: Path, step: int | None = None) -> Exportable:
    """Finds the weights to export.

    Args:
        source: a run directory, or a checkpoint in one.
        step: of the checkpoint; None for the latest weights.
    Raises:
        NothingToExport, CheckpointDamaged: there are no such weights, or they are damaged; the message says what to do.
        FileNotFoundError: the ledger or the checkpoint does not exist.
    """
    if source.is_dir():
        run_dir, file = source, None
    else:
        run_dir, file = source.resolve().parent.parent, source.resolve()
    if not (run_dir / NAME).is_file():
        raise NothingToExport(
            f"{run_dir} has no {NAME}; give a run directory, or a checkpoint in the folder checkpoints of one"
        )
    facts = _read_ledger(run_dir / NAME)
    chosen = _choose(run_dir, facts, file, step)
    if chosen is None:
        return _final(run_dir, facts)
    if chosen.step == 0 and step is None and file is None:
        raise NothingToExport(
            f"{run_dir} has only {chosen.file}, the weights before the first step, which are untrained. Continue the"
            " training (pangea train --resume), or export them anyway with --step 0"
        )
    verify_checkpoint(run_dir, chosen)
    return Exportable(run_dir / chosen.file, chosen.step, chosen.sha256, facts.tensors, "", facts.content_hash)


@dataclass(frozen=True)
class _Facts:
    content_hash: str
    model: Model | None
    checkpoints: list[Checkpoint]
    finished: Finished | None

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the trained tensors; none if the ledger ends before its model."""
        return tuple(spec.name for spec in self.model.parameters) if self.model is not None else ()


def _read_ledger(path: Path) -> _Facts:
    content_hash = ""
    model: Model | None = None
    finished: Finished | None = None
    checkpoints: list[Checkpoint] = []
    with open_regular(path) as stream:
        try:
            for entry in Reader(stream):
                match entry.record:
                    case Settings(content_hash=content_hash):
                        pass
                    case Model() as model:
                        pass
                    case Checkpoint() as checkpoint if is_valid_name(checkpoint):
                        checkpoints.append(checkpoint)
                    case Finished() as finished:
                        pass
        except LedgerDamaged as error:
            raise NothingToExport(f"{path}: {error}; no checkpoint can be verified with it") from error
    return _Facts(content_hash, model, checkpoints, finished)


def _choose(run_dir: Path, facts: _Facts, file: Path | None, step: int | None) -> Checkpoint | None:
    """The checkpoint to export; None for final.safetensors."""
    # A checkpoint may be written again under the same name; the last record is that of the file.
    named = {checkpoint.file: checkpoint for checkpoint in facts.checkpoints}
    if file is not None:
        found = [checkpoint for checkpoint in named.values() if (run_dir / checkpoint.file).resolve() == file]
        if not found:
            raise NothingToExport(f"the ledger does not name {file}, so it cannot be verified")
        return found[0]
    existing = [checkpoint for checkpoint in named.values() if (run_dir / checkpoint.file).is_file()]
    if step is not None:
        for checkpoint in existing:
            if checkpoint.step == step:
                return checkpoint
        raise NothingToExport(
            f"there is no checkpoint of step {step}; there are checkpoints of the steps"
            f" {sorted(checkpoint.step for checkpoint in existing)}"
        )
    newest = max(existing, key=lambda checkpoint: checkpoint.step, default=None)
    if (
        facts.finished is not None
        and (newest is None or newest.step < facts.finished.steps)
        and (run_dir / "final.safetensors").is_file()
    ):
        return None
    if newest is None:
        raise NothingToExport(
            f"{run_dir} has neither the final.safetensors of a finished run nor a checkpoint; train with"
            " --checkpoint-steps to get checkpoints"
        )
    return newest


def _final(run_dir: Path, facts: _Facts) -> Exportable:
    assert facts.finished is not None
    return Exportable(
        run_dir / "final.safetensors",
        facts.finished.steps,
        "",
        facts.tensors,
        facts.finished.params_hash,
        facts.content_hash,
    )
