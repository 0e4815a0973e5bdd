"""Exports the plain weights of a run: a safetensors file for `model.load_state_dict`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
import torch

from pangea import _native
from pangea.errors import PangeaError
from pangea.foreign import open_regular
from pangea.rundir.atomic_file import write_atomically
from pangea.training.gradients import USED
from pangea.training.hashing import content_hash, tensor_bytes
from pangea.training.snapshot import model_tensors


class CannotExport(PangeaError, ValueError):
    """A file does not contain the expected weights, or they cannot be written; the message says what is wrong."""


def export_checkpoint(path: Path, target: Path) -> int:
    """Writes the weights of a checkpoint.

    Args:
        path: of the checkpoint, whose hash the caller has checked.
        target: the file to write; replaced atomically.
    Returns:
        the number of tensors written.
    Raises:
        CannotExport, BadSnapshot: naming what is wrong.
    """
    with open_regular(path, follow=False) as stream:
        weights = model_tensors(stream.read())
    if not weights:
        raise CannotExport(f"{path} contains no tensors of a model")
    _write(weights, target)
    return len(weights)


def export_final(path: Path, target: Path, tensors: Iterable[str], expected: str, method: str) -> tuple[int, str]:
    """Writes the weights of a finished run.

    Args:
        path: of final.safetensors.
        target: the file to write; replaced atomically.
        tensors: names of the tensors that the run adds up in a step, in the order in which they are hashed.
        expected: the hash over all parameters at the end of the run.
        method: how it was computed, as the ledger's settings say.
    Returns:
        the number of tensors written, and a sentence on how their bits were verified.
    Raises:
        CannotExport: naming what is wrong.
    """
    with open_regular(path, follow=False) as stream:
        content = stream.read()
    try:
        weights = safetensors.torch.load(content)
    except Exception as error:
        raise CannotExport(f"{path} is damaged: it is not a safetensors file ({error})") from error
    verified = _verify(path, weights, tensors, expected, _known(method))
    _write(weights, target)
    return len(weights), verified


def _known(method: str) -> _native.ContentHash:
    for known in _native.CONTENT_HASHES:
        if method == known:
            return known
    raise CannotExport(f"the run hashes its parameters by {method}, which this release does not know; use a later one")


def _verify(
    path: Path, weights: dict[str, torch.Tensor], tensors: Iterable[str], expected: str, method: _native.ContentHash
) -> str:
    """Compares the hash of the weights with the final one of the run, if the ledger has the order of all tensors.

    Returns:
        a sentence on whether the hash matches or could not be checked.
    Raises:
        CannotExport: a tensor is missing, or the hash differs.
    """
    order = [name for name in tensors if name != USED]
    missing = [name for name in order if name not in weights]
    if missing:
        raise CannotExport(f"{path} is damaged or belongs to another run: it has no tensor {missing[0]}")
    found = content_hash([weights[name] for name in order], method).hex()
    if found == expected:
        return f"its parameters have hash {expected} ({method}), as the ledger says"
    known = {bytes(tensor_bytes(weights[name])) for name in order}
    others = [
        name for name, tensor in weights.items() if name not in order and bytes(tensor_bytes(tensor)) not in known
    ]
    if not others:
        raise CannotExport(
            f"cannot verify {path}: its parameters have hash {found}, but the run finished with"
            f" {expected}. It is damaged, or the model has buffers that are not saved; export a checkpoint instead"
            " (--checkpoint-steps writes them)"
        )
    return (
        f"not checked against the ledger, because {others[0]} is part of the hash at an unknown position; a checkpoint"
        " of the last step can be checked"
    )


def _write(weights: dict[str, torch.Tensor], target: Path) -> None:
    if not target.parent.is_dir():
        raise CannotExport(f"the folder {target.parent} does not exist")
    # Tied weights are written under each of their names, as load_state_dict expects.
    write_atomically(
        target,
        safetensors.torch.save(
            {name: tensor.contiguous() for name, tensor in sorted(weights.items())}, {"format": "pt"}
        ),
    )
