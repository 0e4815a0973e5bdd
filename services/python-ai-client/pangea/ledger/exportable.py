"""What of a run the ledger vouches for, so that it may be exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pangea.errors import PangeaError
from pangea.ledger.other_files import verify_checkpoint
from pangea.ledger.reader import NAME, Checkpoint, Finished, LedgerDamaged, Model, Reader


class NothingToExport(PangeaError, ValueError):
    """There are no weights that could be exported; the message says what is missing, or wrong."""


@dataclass(frozen=True)
class Exportable:
    """A state of a run that may be exported.

    Attributes:
        path: of the file that holds it.
        step: steps that were applied to it.
        sha256: of a checkpoint's file, which has it; empty for the weights of a finished run.
        tensors: names of what the run adds up in a step, in the order of its hash over all parameters.
        params_hash: that the run finished with; empty for a checkpoint.
    """

    path: Path
    step: int
    sha256: str
    tensors: tuple[str, ...]
    params_hash: str


def find_exportable(source: Path, step: int | None = None) -> Exportable:
    """Looks for what is to be exported.

    Args:
        source: a run directory, or a checkpoint in one.
        step: of the checkpoint; None for the last state of the run that is there.
    Raises:
        NothingToExport, CheckpointDamaged: naming what is wrong.
        FileNotFoundError: of a ledger or checkpoint.
    """
    if source.is_dir():
        run_dir, file = source, None
    else:
        run_dir, file = source.resolve().parent.parent, source.resolve()
    if not (run_dir / NAME).is_file():
        raise NothingToExport(f"{run_dir} has no {NAME}; name a run directory, or a checkpoint that lies in the folder checkpoints of one")
    facts = _read(run_dir / NAME)
    chosen = _choose(run_dir, facts, file, step)
    if chosen is None:
        return _final(run_dir, facts)
    if chosen.step == 0 and step is None and file is None:
        raise NothingToExport(
            f"{run_dir} has only {chosen.file}, the weights before the first step: they are not trained. Train on (pangea train --resume), or take them all the same with --step 0"
        )
    verify_checkpoint(run_dir, chosen)
    return Exportable(run_dir / chosen.file, chosen.step, chosen.sha256, facts.tensors, "")


@dataclass(frozen=True)
class _Facts:
    model: Model | None
    checkpoints: list[Checkpoint]
    finished: Finished | None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of what is added up in a step; none where the ledger ends before its model."""
        return tuple(spec.name for spec in self.model.parameters) if self.model is not None else ()


def _read(path: Path) -> _Facts:
    model: Model | None = None
    finished: Finished | None = None
    checkpoints: list[Checkpoint] = []
    with path.open("rb") as stream:
        try:
            for entry in Reader(stream):
                match entry.record:
                    case Model() as model:
                        pass
                    case Checkpoint() as checkpoint:
                        checkpoints.append(checkpoint)
                    case Finished() as finished:
                        pass
        except LedgerDamaged as error:
            raise NothingToExport(f"{path}: {error}; it cannot vouch for any checkpoint") from error
    return _Facts(model, checkpoints, finished)


def _choose(run_dir: Path, facts: _Facts, file: Path | None, step: int | None) -> Checkpoint | None:
    """The checkpoint to be exported; None for final.safetensors."""
    # The last record of a name is the file's: a checkpoint may be written again.
    named = {checkpoint.file: checkpoint for checkpoint in facts.checkpoints}
    if file is not None:
        found = [checkpoint for checkpoint in named.values() if (run_dir / checkpoint.file).resolve() == file]
        if not found:
            raise NothingToExport(f"the ledger does not name {file}, so nothing says that it is whole")
        return found[0]
    there = [checkpoint for checkpoint in named.values() if (run_dir / checkpoint.file).is_file()]
    if step is not None:
        for checkpoint in there:
            if checkpoint.step == step:
                return checkpoint
        raise NothingToExport(f"there is no checkpoint of step {step}; there are those of the steps {sorted(checkpoint.step for checkpoint in there)}")
    newest = max(there, key=lambda checkpoint: checkpoint.step, default=None)
    if facts.finished is not None and (newest is None or newest.step < facts.finished.steps) and (run_dir / "final.safetensors").is_file():
        return None
    if newest is None:
        raise NothingToExport(f"{run_dir} has neither final.safetensors of a finished run nor a checkpoint; train with --checkpoint-steps to get some")
    return newest


def _final(run_dir: Path, facts: _Facts) -> Exportable:
    assert facts.finished is not None
    return Exportable(run_dir / "final.safetensors", facts.finished.steps, "", facts.tensors, facts.finished.params_hash)
