"""A worker's complete state as the bytes of a safetensors file: no pickle, no executable content.

Tensors are named `model.NAME` (everything in `model.state_dict`, so including frozen parameters and buffers),
`optimizer...` and `scheduler...`. The non-tensor state of the optimizer and the scheduler is JSON in the file's
metadata, where floats keep every bit. The metadata also has the step, the seed, the number of shards and the batch
size. They define the position in a run completely: the samples of a step are a function of (seed, epoch, step), and all
random generators are seeded by (seed, step, shard) before each shard, so no generator state has to be saved.
"""

from __future__ import annotations

import functools
import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import safetensors
import safetensors.torch
import torch
from torch.optim.lr_scheduler import LRScheduler

from pangea.errors import PangeaError
from pangea.printable import quoted
from pangea.training.layouts import same_layout

_FORMAT = "pangea/snapshot/2"
# As safetensors names them.
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
_MODEL = "model."
_STATE = "state."
# The name of the state of schedulers that are made for the steps of the run.
SCHEDULE = "pangea.schedule"


Optimizers: TypeAlias = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]
Schedulers: TypeAlias = LRScheduler | Sequence[LRScheduler | None] | None


class HasState(Protocol):
    """State that a script keeps besides the model and changes once a step, such as an average of the parameters."""

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors, numbers, text, and lists and dicts of them."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Loads what `state_dict` returned."""


class BadSnapshot(PangeaError, ValueError):
    """The bytes are not a snapshot of this model and optimizer, or the state cannot be stored in a snapshot."""


@dataclass(frozen=True)
class Position:
    """A position in a run: after `step` steps of a run with this seed, number of shards and batch size."""

    step: int
    seed: int
    shards: int
    batch_size: int


def _pack(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Returns a value as JSON that `_unpack` restores exactly; stores tensors in `tensors` under their path."""
    if isinstance(value, float) and not math.isfinite(value):
        # Which JSON has not; as the best loss that a ReduceLROnPlateau has seen before the first one.
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, list):
        return [_pack(item, f"{path}.{number}", tensors) for number, item in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": [_pack(item, f"{path}.{number}", tensors) for number, item in enumerate(value)]}
    if isinstance(value, dict):
        kind = "counter" if isinstance(value, Counter) else "dict"
        # As pairs, because keys may be numbers, and their order must be kept.
        return {
            kind: [[_pack(key, path, tensors), _pack(item, f"{path}.{key}", tensors)] for key, item in value.items()]
        }
    raise BadSnapshot(
        f"{path} is a {type(value).__name__}, which cannot be sent to another worker without pickle; use numbers, text,"
        " lists, dicts or tensors"
    )


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    pairs = {_unpack(key, tensors): _unpack(item, tensors) for key, item in content}
    return Counter(pairs) if kind == "counter" else pairs


def _named(
    optimizer: Optimizers, scheduler: Schedulers
) -> Iterator[tuple[str, torch.optim.Optimizer, str, LRScheduler | None]]:
    """Yields each optimizer and its scheduler, with the names of their states: those of a single one have no number."""
    optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else optimizer
    schedulers = scheduler if isinstance(scheduler, Sequence) else [scheduler] * len(optimizers)
    for number, (one, its) in enumerate(zip(optimizers, schedulers, strict=True)):
        suffix = f".{number}" if number else ""
        yield f"optimizer{suffix}", one, f"scheduler{suffix}", its


def _state(
    model: torch.nn.Module,
    optimizer: Optimizers,
    scheduler: Schedulers,
    state: Mapping[str, HasState],
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns all tensors, and the rest of the state as JSON."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise BadSnapshot(
                f"{name} of the model's state is a {type(tensor).__name__}, which cannot be sent to another worker;"
                " make it a buffer"
            )
        tensors[_MODEL + name] = tensor
    rest: dict[str, Any] = {}
    for name, one, scheduler_name, its in _named(optimizer, scheduler):
        rest[name] = _pack(one.state_dict(), name, tensors)
        if its is not None:
            rest[scheduler_name] = _pack(its.state_dict(), scheduler_name, tensors)  # type: ignore[no-untyped-call]
    for name, kept in state.items():
        rest[_STATE + name] = _pack(dict(kept.state_dict()), _STATE + name, tensors)
    return tensors, rest


def check(
    model: torch.nn.Module,
    optimizer: Optimizers,
    scheduler: Schedulers = None,
    state: Mapping[str, HasState] = MappingProxyType({}),
) -> None:
    """Checks that the state can be stored in a snapshot, and read.

    Raises:
        BadSnapshot: naming the part of the state that cannot.
    """
    tensors, _ = _state(model, optimizer, scheduler, state)
    name = next((name for name, tensor in tensors.items() if tensor.is_complex()), "")
    if name and not reads_complex():
        raise BadSnapshot(
            f"{name} is complex, which safetensors {safetensors.__version__} cannot read; install a later one"
        )


@functools.cache
def reads_complex() -> bool:
    """Returns whether the library that reads snapshots knows complex numbers."""
    header = b'{"x":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}'
    try:
        safetensors.torch.load(struct.pack("<Q", len(header)) + header + bytes(8))
    except Exception:  # its own kinds of errors have changed between releases
        return False
    return True


def encode(
    model: torch.nn.Module,
    optimizer: Optimizers,
    scheduler: Schedulers,
    position: Position,
    state: Mapping[str, HasState] = MappingProxyType({}),
    training: str = "",
) -> bytes:
    """Returns the state at a position of the run as a snapshot; equal states give equal bytes.

    Args:
        model, optimizer, scheduler: of a worker.
        position: of the worker in the run.
        state: further state of the script, by its name.
        training: how a step changes the parameters, as `describe_training` returns it.

    Raises:
        BadSnapshot: naming the part of the state that cannot be stored.
    """
    return b"".join(parts(model, optimizer, scheduler, position, state, training))


def parts(
    model: torch.nn.Module,
    optimizer: Optimizers,
    scheduler: Schedulers,
    position: Position,
    state: Mapping[str, HasState] = MappingProxyType({}),
    training: str = "",
) -> list[memoryview]:
    """Returns the bytes of `encode` in parts: the header, then the memory of the tensors, without copies of it.

    The format is that of safetensors, whose library only writes copies: the size of the header in eight bytes, the
    header as JSON, padded with spaces, and the tensors' bytes at the offsets that it names. Those of larger elements
    come first, so that all are aligned.
    """
    tensors, rest = _state(model, optimizer, scheduler, state)
    rest |= {"training": training} if training else {}
    rest |= {"hashed": names} if (names := _hashed(model, tensors)) else {}
    metadata = {"pangea": json.dumps({"format": _FORMAT, **asdict(position), **rest})}
    header: dict[str, Any] = {"__metadata__": metadata}
    memory, end = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        if tensor.dtype not in _DTYPES:
            raise BadSnapshot(f"{name} has elements of the type {tensor.dtype}, which a snapshot cannot hold")
        whole = tensor.detach().cpu().contiguous()
        start, end = end, end + whole.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(whole.shape), "data_offsets": [start, end]}
        memory.append(memoryview(whole.reshape(-1).view(torch.uint8).numpy()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(struct.pack("<Q", len(text)) + text), *memory]


def _hashed(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Returns the names of the tensors that the run's hash of the parameters covers, in its order, so that the
    orchestrator can compare. Empty if one of them is not saved."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    names += [name for name, _ in model.named_buffers()]
    return names if all(_MODEL + name in tensors for name in names) else []


def _parse(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        tensors = safetensors.torch.load(data)
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        metadata: Any = json.loads(header.get("__metadata__", {}).get("pangea", "{}"))
    except Exception as error:
        raise BadSnapshot(f"not a complete safetensors file: {error}") from error
    found = metadata.get("format") if isinstance(metadata, dict) else metadata
    if found != _FORMAT:
        raise BadSnapshot(f"not a snapshot: its format is {quoted(found)}, expected {_FORMAT!r}")
    return tensors, metadata


def model_tensors(data: bytes) -> dict[str, torch.Tensor]:
    """Returns the weights of a snapshot, parameters and buffers, for `model.load_state_dict`.

    Raises:
        BadSnapshot: the bytes are not a snapshot.
    """
    tensors, _ = _parse(data)
    return {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}


def position_of(data: bytes) -> Position:
    """Returns the position in the run at which a snapshot was taken.

    Raises:
        BadSnapshot: the bytes are not a snapshot.
    """
    return _position(_parse(data)[1])


def _position(metadata: dict[str, Any]) -> Position:
    numbers: list[Any] = [metadata.get(key) for key in ("step", "seed", "shards", "batch_size")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise BadSnapshot(f"the snapshot has no position in a run, but {quoted(numbers)}")
    return Position(*numbers)


def training_of(data: bytes) -> str:
    """Returns the training description that a snapshot was taken with; empty if it has none.

    Raises:
        BadSnapshot: the bytes are not a snapshot.
    """
    return str(_parse(data)[1].get("training", ""))


def load_model(data: bytes, model: torch.nn.Module) -> Position:
    """Loads only the parameters and buffers, for a script that continues with another optimizer.

    Raises:
        BadSnapshot: with the reason; the model may then be partially loaded and must not be used.
    """
    tensors, metadata = _parse(data)
    try:
        model.load_state_dict(
            {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
        )
        return _position(metadata)
    except Exception as error:
        raise BadSnapshot(f"the snapshot does not fit this model: {error}") from error


def decode_into(
    data: bytes,
    model: torch.nn.Module,
    optimizer: Optimizers,
    scheduler: Schedulers = None,
    state: Mapping[str, HasState] = MappingProxyType({}),
    *,
    other_scheduler: bool = False,
) -> Position:
    """Loads a snapshot bit by bit.

    Args:
        data: a snapshot, as `encode` returns it.
        model, optimizer, scheduler, state: of the same structure as those encoded; overwritten.
        other_scheduler: the script's scheduler differs from that of the snapshot, and remains as it is.
    Returns:
        the position in the run at which it was taken.
    Raises:
        BadSnapshot: with the reason; the model may then be partially loaded and must not be used.
    """
    tensors, metadata = _parse(data)
    named = list(_named(optimizer, None if other_scheduler else scheduler))
    _check_structure(metadata, named, other_scheduler)
    kept = {name.removeprefix(_STATE) for name in metadata if name.startswith(_STATE)}
    if other_scheduler:
        kept, state = kept - {SCHEDULE}, {name: owner for name, owner in state.items() if name != SCHEDULE}
    if kept != set(state):
        have_state, want_state = (", ".join(sorted(names)) or "none" for names in (kept, state))
        raise BadSnapshot(
            f"the snapshot has state of run.after_step: {have_state}, but this worker has: {want_state}; start all"
            " workers with the same script and arguments"
        )
    try:
        model.load_state_dict(
            {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
        )
        for name, one, scheduler_name, its in named:
            packed = _unpack(metadata[name], tensors)
            one.load_state_dict(packed)
            _restore_exactly(one, packed["state"])
            if its is not None:
                its.load_state_dict(_unpack(metadata[scheduler_name], tensors))
        for name, owner in state.items():
            owner.load_state_dict(_unpack(metadata[_STATE + name], tensors))
        return _position(metadata)
    except Exception as error:
        raise BadSnapshot(f"the snapshot does not fit this model, optimizer and scheduler: {error}") from error


def _check_structure(
    metadata: dict[str, Any],
    named: Sequence[tuple[str, torch.optim.Optimizer, str, LRScheduler | None]],
    other_scheduler: bool,
) -> None:
    """Checks that a snapshot has as many optimizers and schedulers as this worker.

    Raises:
        BadSnapshot: with what differs.
    """
    theirs = sum(name == "optimizer" or name.startswith("optimizer.") for name in metadata)
    if theirs != len(named):
        raise BadSnapshot(
            f"the snapshot has {theirs} optimizers, but this worker has {len(named)}; start all workers with the same"
            " script and arguments"
        )
    for _, _, scheduler_name, its in named:
        if not other_scheduler and (scheduler_name in metadata) != (its is not None):
            have, want = ("a", "none") if its is None else ("no", "one")
            raise BadSnapshot(
                f"the snapshot has {have} scheduler, but this worker has {want}; start all workers with the same script"
                " and arguments"
            )


def _restore_exactly(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Any]]) -> None:
    """Restores each parameter's state exactly: `load_state_dict` casts tensors and changes other types.

    It has moved tensors to where the optimizer needs them, which is kept; so is the layout of the parameter.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, entries in state.items():
        parameter = parameters[index]
        loaded = optimizer.state[parameter]
        optimizer.state[parameter] = {
            name: same_layout(value.to(loaded[name].device), parameter) if isinstance(value, torch.Tensor) else value
            for name, value in entries.items()
        }
