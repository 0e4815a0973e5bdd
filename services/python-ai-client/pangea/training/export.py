"""Plain weights out of a run: a safetensors file that `model.load_state_dict` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
import torch

from pangea.errors import PangeaError
from pangea.rundir.atomic_file import write_atomically
from pangea.training.gradients import USED
from pangea.training.hashing import tensor_bytes
from pangea.training.snapshot import model_tensors


class CannotExport(PangeaError, ValueError):
    """A file does not hold the weights that it should, or they cannot be written; the message says what is wrong."""


def export_checkpoint(path: Path, target: Path) -> int:
    """Writes the weights in a checkpoint.

    Args:
        path: of the checkpoint, whose bytes somebody has looked at.
        target: the file to be written, replaced at once.
    Returns:
        how many tensors were written.
    Raises:
        CannotExport, BadSnapshot: naming what is wrong.
    """
    weights = model_tensors(path.read_bytes())
    if not weights:
        raise CannotExport(f"{path} holds no tensors of a model")
    _write(weights, target)
    return len(weights)


def export_final(path: Path, target: Path, tensors: Iterable[str], wanted: str) -> tuple[int, str]:
    """Writes the weights of a finished run.

    Args:
        path: of final.safetensors.
        target: the file to be written, replaced at once.
        tensors: names of what the run adds up in a step, in the order of its hash.
        wanted: the hash over all parameters that the run finished with.
    Returns:
        how many tensors were written, and how their bits are vouched for.
    Raises:
        CannotExport: naming what is wrong.
    """
    weights = safetensors.torch.load_file(path)
    vouched = _vouch(path, weights, tensors, wanted)
    _write(weights, target)
    return len(weights), vouched


def _vouch(path: Path, weights: dict[str, torch.Tensor], tensors: Iterable[str], wanted: str) -> str:
    """Compares the hash over the weights with the one that the run finished with, where the ledger has the order of all tensors."""
    order = [name for name in tensors if name != USED]
    missing = [name for name in order if name not in weights]
    if missing:
        raise CannotExport(f"{path} is damaged or of another run: it has no tensor {missing[0]}")
    digest = hashlib.sha256()
    for name in order:
        digest.update(tensor_bytes(weights[name]))
    if digest.hexdigest() == wanted:
        return f"its parameters have hash {wanted}, as the ledger says"
    known = {bytes(tensor_bytes(weights[name])) for name in order}
    others = [name for name, tensor in weights.items() if name not in order and bytes(tensor_bytes(tensor)) not in known]
    if not others:
        raise CannotExport(
            f"nothing vouches for {path}: its parameters have hash {digest.hexdigest()}, the run finished with {wanted}. It is damaged, or the model has buffers that are not saved; "
            "export a checkpoint instead (--checkpoint-steps takes some)"
        )
    return f"not checked against the ledger, because {others[0]} is part of the hash and its place is not known; a checkpoint of the last step can be checked"


def _write(weights: dict[str, torch.Tensor], target: Path) -> None:
    if not target.parent.is_dir():
        raise CannotExport(f"there is no folder {target.parent} to write to")
    # Tied weights have a copy under each of their names, as load_state_dict wants them.
    write_atomically(target, safetensors.torch.save({name: tensor.contiguous() for name, tensor in sorted(weights.items())}, {"format": "pt"}))
