"""Plain weights out of a run: a safetensors file that `model.load_state_dict` takes.

Nothing is exported that the ledger does not vouch for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from pangea.ledger.other_files import verify_checkpoint
from pangea.ledger.reader import NAME, Checkpoint, Finished, LedgerDamaged, Model, Reader
from pangea.rundir.atomic_file import write_atomically
from pangea.training.gradients import USED
from pangea.training.hashing import tensor_bytes
from pangea.training.snapshot import model_tensors


class NothingToExport(ValueError):
    """There are no weights that could be exported; the message says what is missing, or wrong."""


@dataclass(frozen=True)
class Exported:
    """What was written. `vouched`: how the ledger vouches for it."""

    source: Path
    step: int
    tensors: int
    vouched: str


def export(source: Path, target: Path, step: int | None = None) -> Exported:
    """Writes plain weights.

    Args:
        source: a run directory, or a checkpoint in one.
        target: the file to be written, replaced at once.
        step: of the checkpoint; None for the last state of the run that is there.
    Raises:
        NothingToExport, CheckpointDamaged, BadSnapshot: naming what is wrong.
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
        return _export_final(run_dir, target, facts)
    if chosen.step == 0 and step is None and file is None:
        raise NothingToExport(
            f"{run_dir} has only {chosen.file}, the weights before the first step: they are not trained. Train on (pangea train --resume), or take them all the same with --step 0"
        )
    verify_checkpoint(run_dir, chosen)
    path = run_dir / chosen.file
    weights = model_tensors(path.read_bytes())
    if not weights:
        raise NothingToExport(f"{path} holds no tensors of a model")
    _write(weights, target)
    return Exported(path, chosen.step, len(weights), f"the file's SHA-256 is {chosen.sha256}, as the ledger says")


@dataclass(frozen=True)
class _Facts:
    model: Model | None
    checkpoints: list[Checkpoint]
    finished: Finished | None


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


def _export_final(run_dir: Path, target: Path, facts: _Facts) -> Exported:
    path = run_dir / "final.safetensors"
    assert facts.finished is not None
    weights = safetensors.torch.load_file(path)
    vouched = _vouch(path, weights, facts)
    _write(weights, target)
    return Exported(path, facts.finished.steps, len(weights), vouched)


def _vouch(path: Path, weights: dict[str, torch.Tensor], facts: _Facts) -> str:
    """Compares the hash over the weights with the one that the run finished with, where the ledger has the order of all tensors."""
    assert facts.finished is not None
    order = [spec.name for spec in facts.model.parameters if spec.name != USED] if facts.model is not None else []
    missing = [name for name in order if name not in weights]
    if missing:
        raise NothingToExport(f"{path} is damaged or of another run: it has no tensor {missing[0]}")
    wanted = facts.finished.params_hash
    digest = hashlib.sha256()
    for name in order:
        digest.update(tensor_bytes(weights[name]))
    if digest.hexdigest() == wanted:
        return f"its parameters have hash {wanted}, as the ledger says"
    known = {bytes(tensor_bytes(weights[name])) for name in order}
    others = [name for name, tensor in weights.items() if name not in order and bytes(tensor_bytes(tensor)) not in known]
    if not others:
        raise NothingToExport(
            f"nothing vouches for {path}: its parameters have hash {digest.hexdigest()}, the run finished with {wanted}. It is damaged, or the model has buffers that are not saved; "
            "export a checkpoint instead (--checkpoint-steps takes some)"
        )
    return f"not checked against the ledger, because {others[0]} is part of the hash and its place is not known; a checkpoint of the last step can be checked"


def _write(weights: dict[str, torch.Tensor], target: Path) -> None:
    if not target.parent.is_dir():
        raise NothingToExport(f"there is no folder {target.parent} to write to")
    # Tied weights have a copy under each of their names, as load_state_dict wants them.
    write_atomically(target, safetensors.torch.save({name: tensor.contiguous() for name, tensor in sorted(weights.items())}, {"format": "pt"}))
