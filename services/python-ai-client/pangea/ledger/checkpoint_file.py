"""The file of a checkpoint: its one valid name, and how it is opened.

A ledger can name any file, and one from elsewhere may do so on purpose: a name is followed only if it is the one that
the orchestrator gives to the checkpoint of that step.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pangea.errors import PangeaError
from pangea.foreign import UnreadableFile, open_regular
from pangea.ledger.records import Checkpoint
from pangea.printable import quoted

FOLDER = "checkpoints"
_BLOCK_BYTES = 4 << 20


class CheckpointDamaged(PangeaError, ValueError):
    """A checkpoint's file does not have the content that the ledger recorded."""


def checkpoint_name(step: int) -> str:
    """The file of the checkpoint after `step` steps, relative to the run directory."""
    return f"{FOLDER}/step-{step:010}.safetensors"


def is_valid_name(checkpoint: Checkpoint) -> bool:
    """Whether the record names the file of its step."""
    return checkpoint.file == checkpoint_name(checkpoint.step)


@contextmanager
def open_checkpoint(run_dir: Path, checkpoint: Checkpoint) -> Iterator[BinaryIO]:
    """Opens the file of a checkpoint, which neither is a symbolic link nor is reached by one in the run directory.

    Raises:
        CheckpointDamaged: the record names another file, or what has the name is not a regular file.
        FileNotFoundError: the file does not exist.
    """
    if not is_valid_name(checkpoint):
        raise CheckpointDamaged(
            f"the ledger names {quoted(checkpoint.file)} as the checkpoint of step {checkpoint.step}, whose file is"
            f" {checkpoint_name(checkpoint.step)}; it is not opened"
        )
    try:
        folder = os.open(run_dir / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            stream = open_regular(Path(Path(checkpoint.file).name), directory=folder, follow=False)
        finally:
            os.close(folder)
    except FileNotFoundError:
        raise
    except (OSError, UnreadableFile) as error:
        raise CheckpointDamaged(
            f"{run_dir / checkpoint.file} cannot be opened as a checkpoint, which is a regular file and not a link:"
            f" {error}"
        ) from error
    with stream:
        yield stream


def verify_checkpoint(run_dir: Path, checkpoint: Checkpoint) -> None:
    """Compares the size and SHA-256 of a checkpoint's file with the ledger.

    Raises:
        CheckpointDamaged: they differ, or the record names another file.
        FileNotFoundError: the file does not exist.
    """
    file = run_dir / checkpoint.file
    with open_checkpoint(run_dir, checkpoint) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != checkpoint.bytes:
            raise CheckpointDamaged(
                f"{file} is damaged: it has {size} bytes, not {checkpoint.bytes} as the ledger says"
            )
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != checkpoint.sha256:
        raise CheckpointDamaged(
            f"{file} is damaged: its bytes have hash {digest.hexdigest()}, not {checkpoint.sha256} as the ledger says"
        )
