"""The worker's side of the wire, in Rust: sockets, prefetch, zero-copy views, hashes.

Every call that waits releases the GIL and runs Python's signal handlers at least each 100 ms; an exception from a
handler ends the call. A client serves one call at a time. Wrong arguments raise ValueError or TypeError before anything
is sent.
"""

import os
from collections.abc import Buffer as SupportsBuffer
from collections.abc import Callable, Sequence
from typing import Final, Literal, final

from pangea.errors import PangeaError

DType = Literal["float32", "float64", "bfloat16", "float16", "int32", "int64", "uint8", "bool", "int8", "int16"]
Split = Literal["train", "heldOut"]
ContentHash = Literal["sha256", "xxh3Tree"]
Action = Literal["fixRequest", "retryLater", "reconnect", "resync", "stop"]
Verdict = Literal["accepted", "duplicate", "conflict", "stale", "tooEarly", "refused"]

ErrorKind = Literal[
    "connect",  # nobody answered at the address in time
    "unreachable",  # no replica has been reachable for reconnect_seconds; reconnecting continues
    "unusable",  # replicas answer, but serve different data or something else: a person has to act
    "closed",  # this program closed the connection
    "lost",  # the peer closed it, or the system reported an error; also of exceptions that Python code raises
    "stalled",  # the peer made no progress within the timeout
    "protocol",  # the peer sent something that breaks the rules of the schema
    "limit",  # a limit was exceeded
    "unsupported",  # the peer is newer and used a value that this program does not know
    "memory",  # the system refused memory
    "refused",  # the peer refused the request: always and only of a PeerError
    "identity",  # this process and the peer do not accept each other's certificates, or one of them speaks no TLS
]

CONTENT_HASHES: Final[list[ContentHash]]
"""The methods that this release knows."""
ALLOCATOR: Final[Literal["tuned", "system"]]
"""Whether this process's allocator keeps freed memory for the next pass, or has the settings of the C library
(PANGEA_MALLOC=system, or a C library other than glibc)."""
ERROR_KINDS: Final[list[ErrorKind]]
"""All values of `kind`."""
FIRST_PAUSE_SECONDS: Final[float]
"""The first pause before reconnecting; pauses double up to the longest, each shortened by up to half at random."""
LONGEST_PAUSE_SECONDS: Final[float]
"""The longest pause before reconnecting."""

class WireError(PangeaError):
    """A connection that was lost, cannot be made, or broke the protocol; the message names the address.

    An OrchestratorClient cannot be used after it: open a new one. A DataClient continues to look for its replicas.
    """

    kind: ErrorKind
    """What went wrong, for programs."""

class PeerError(PangeaError):
    """The peer refused a request."""

    kind: ErrorKind
    """Always "refused", so that one `except` for both exceptions can look at it."""
    action: Action
    """What to do; `unspecified` and actions of a newer schema become "stop"."""
    detail: str
    """What went wrong, where, and what to do; one sentence for people."""
    retry_after: float
    """Seconds; only for "retryLater"."""

@final
class Buffer:
    """Writable memory, 64-byte aligned, accessed through the buffer protocol (format "B"). It lives as long as any view
    of it."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def content_hash(tensors: Sequence[SupportsBuffer], method: ContentHash = "xxh3Tree") -> bytes:
    """Hashes the bytes of tensors, in their order, without the GIL, so that another thread may compute meanwhile.

    `tensors` are C-contiguous bytes (format "B"); they must not change until this returns. `method` is the run's
    JoinReply.content_hash.
    """

def checksums(pieces: Sequence[tuple[int, int]]) -> list[int]:
    """Returns a checksum of each piece of memory, which any single change alters: the sum of its words.

    A piece is an address and a number of bytes. The caller holds the memory until this returns.
    """

@final
class SharedBuffer:
    """Memory that this worker and the orchestrator share, accessed through the buffer protocol (format "B"): a slot,
    which is writable, or an aggregate, which is not. It is mapped as long as any view of it lives."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class TensorView:
    """A tensor over received memory. `torch.frombuffer(view.buffer, dtype=...)` shares it (but refuses 0 bytes)."""

    name: Final[str]
    dtype: Final[DType]
    shape: Final[tuple[int, ...]]
    buffer: Final[Buffer]

@final
class DatasetInfo:
    """What a data service serves. `features` and `labels` are (dtype, shape) of one sample, without the batch
    dimension."""

    name: Final[str]
    hash: Final[bytes]
    train_samples: Final[int]
    held_out_samples: Final[int]
    classes: Final[int]
    features: Final[tuple[DType, tuple[int, ...]]]
    labels: Final[tuple[DType, tuple[int, ...]]]
    columns: Final[list[tuple[str, float, float]]]
    """Of a table: name, mean and deviation of each feature column before preprocessing; empty otherwise."""
    class_names: Final[list[str]]
    """What each class is called in the raw data; empty where the labels are numbers already."""
    vocabulary: Final[bytes]
    """The byte that each token of a text stands for; empty otherwise."""
    def __new__(
        cls,
        *,
        name: str,
        hash: bytes,
        train_samples: int,
        held_out_samples: int,
        classes: int,
        features: tuple[DType, Sequence[int]],
        labels: tuple[DType, Sequence[int]],
    ) -> DatasetInfo: ...

@final
class Batch:
    """The samples of one shard of one step. The hash has been verified. Each tensor owns its memory."""

    split: Final[Split]
    epoch: Final[int]
    step: Final[int]
    shard: Final[int]
    epoch_steps: Final[int]
    sample_ids: Final[TensorView]
    features: Final[TensorView]
    labels: Final[TensorView]
    hash: Final[bytes]

@final
class DataClient:
    """Connections to the replicas of a data service; any of them gives the same batches.

    `addresses` is one "host:port" or several, separated by commas. A replica on this machine may be "unix:/path",
    or "unix:/path|host:port": the first of them that answers. Over a Unix socket, batches are read from the memory
    of the service, in a private view: what a script writes to a batch, nobody else sees. `timeout` (seconds) bounds
    the first connection, for which one replica suffices, and the silence of a replica before its connection is
    closed. Afterwards the client survives lost connections, stalled replicas and restarts: it reconnects and
    repeats its requests. Waiting calls raise WireError only after `reconnect_seconds` without any replica, and
    later ones do so until a replica is back.

    A replica that serves a different dataset than the first one is not used; if there is no other one, waiting calls
    raise WireError at once. With two or more replicas, a batch that is unusually late is requested from another one as
    well. The first reply counts; if the second one differs, the client cannot be used any more, and its calls raise
    WireError. `identity` is as for OrchestratorClient.
    """

    def __new__(
        cls,
        addresses: str,
        timeout: float = 30.0,
        *,
        max_frame_bytes: int = 16_777_216,
        reconnect_seconds: float = 600.0,
        identity: str | os.PathLike[str] | None = None,
    ) -> DataClient: ...
    def replicas(self) -> list[tuple[str, bool]]:
        """The address of each replica, and whether it is connected now. May be called at any time, from any thread.

        Of a replica that can be reached in several ways, it is the one in use, once it was connected.
        """

    def dataset(self) -> DatasetInfo: ...
    def prefetch(
        self,
        split: Split,
        seed: int,
        epoch: int,
        step: int,
        batch_size: int,
        shard: int,
        shards: int,
        min_shard_samples: int = 0,
        content_hash: ContentHash = "xxh3Tree",
    ) -> None:
        """Requests a batch that a later `batch` with the same arguments collects. At most 256 may be waiting."""

    def prefetch_all(self, requests: Sequence[tuple[Split, int, int, int, int, int, int, int, ContentHash]]) -> None:
        """Requests several batches, each by the arguments of `batch`, in one write."""

    def batch(
        self,
        split: Split,
        seed: int,
        epoch: int,
        step: int,
        batch_size: int,
        shard: int,
        shards: int,
        min_shard_samples: int = 0,
        content_hash: ContentHash = "xxh3Tree",
    ) -> Batch:
        """Waits for the batch, which is requested now unless it was before. A batch is collected once."""

    def discard(
        self,
        split: Split,
        seed: int,
        epoch: int,
        step: int,
        batch_size: int,
        shard: int,
        shards: int,
        min_shard_samples: int = 0,
        content_hash: ContentHash = "xxh3Tree",
    ) -> None:
        """Forgets a batch that was requested and that nobody will collect; unknown ones are ignored."""

    def close(self) -> None:
        """Closes the connections; a call that waits in another thread raises WireError. Batches stay valid."""

@final
class JoinReply:
    run_id: Final[str]
    worker_id: Final[int]
    seed: Final[int]
    shards: Final[int]
    batch_size: Final[int]
    epochs: Final[int]
    min_shard_samples: Final[int]
    """Shards of a step are merged until each has at least this many samples."""
    drop_last: Final[bool]
    """Whether an epoch leaves out the samples that do not fill a batch."""
    content_hash: Final[ContentHash]
    """How parameters, aggregates and batches are hashed."""
    step: Final[int]
    total_steps: Final[int]

@final
class ShardLease:
    """Compute these shards of the open step and submit their gradient sums."""

    step: Final[int]
    epoch: Final[int]
    epoch_step: Final[int]
    shards: Final[list[int]]
    separate: Final[list[int]]
    """Those of `shards` that are to be submitted as updates of one shard each."""

@final
class Aggregate:
    """The gradient sum of a closed step: one flat float32 vector. The hash of a `Buffer` has been verified; a
    `SharedBuffer` may be read until the next request for work."""

    step: Final[int]
    samples: Final[int]
    loss_sum: Final[float]
    divisor: Final[float]
    """What the sum is divided by; at least 0."""
    gradients: Final[Buffer | SharedBuffer]
    hash: Final[bytes]

@final
class SnapshotRequest:
    """Send the state after `step` steps: another worker needs it."""

    step: Final[int]

@final
class Snapshot:
    """The whole state of a worker after `step` steps: the bytes of a safetensors file. Their hash has been verified."""

    step: Final[int]
    parameters_hash: Final[bytes]
    data: Final[Buffer]

@final
class RunFinished:
    """All steps are committed, or the run was ended before its last one."""

    steps: Final[int]
    parameters_hash: Final[bytes]
    incidents: Final[int]
    """Incidents in the run's ledger."""
    stopped: Final[str]
    """Why the run ended before its last step; empty if it did not."""

@final
class ParametersHash:
    """The content hash of parameters by the run's method, which a thread computes."""

    def value(self) -> bytes:
        """Waits for the hash; from then on the parameters may be changed."""

# (shard, samples, sum of the loss, batch hash, weight, whether the loss is a sum, why the run is to end after this
# step, its figures as for `ask`).
_Report = tuple[int, int, float, bytes, float, bool, str, Sequence[tuple[str, float]]]

@final
class OrchestratorClient:
    """One connection to an orchestrator. `timeout` (seconds) bounds connecting and progress inside a frame.

    `identity` is the folder with this worker's certificate: over TCP, both sides then know each other by TLS. It is
    read for each connection, so that certificates can be renewed. Unix sockets need none.
    """

    def __new__(
        cls,
        address: str,
        timeout: float = 30.0,
        *,
        max_frame_bytes: int = 16_777_216,
        identity: str | os.PathLike[str] | None = None,
    ) -> OrchestratorClient: ...
    def join(
        self,
        worker_name: str,
        software: str,
        parameters: Sequence[tuple[str, DType, Sequence[int]]],
        parameters_hash: bytes,
        step: int,
        dataset: DatasetInfo,
        run_id: str = "",
        heartbeat_seconds: float = 0.1,
        training: str = "",
        arithmetic: str = "",
        fingerprints: Sequence[tuple[str, bytes]] = (),
        *,
        parameters_content_hash: bytes | None = None,
    ) -> JoinReply:
        """Introduces the worker; the first call of a connection.

        Args:
            parameters_hash: SHA-256 of the parameters.
            parameters_content_hash: the same as "xxh3Tree", because the run's method is known only from the reply. A
                run that uses it refuses a worker without it.
            run_id: JoinReply.run_id of an earlier connection of this worker; empty on the first.
            heartbeat_seconds: a thread sends a heartbeat whenever nothing was sent for that long, until the connection
                ends, also while Python computes. 0 for none; otherwise 0.001 to less than 3600.
            training: how a step changes the parameters, as JSON with sorted keys; equal for all workers of a run.
            arithmetic: the level that the arithmetic is pinned to; empty where it is not pinned.
            fingerprints: (operator, SHA-256 of what it computes from fixed inputs), at most 64.
        """

    def ask(
        self,
        step: int,
        parameters_hash: bytes,
        data_seconds: float,
        compute_seconds: float,
        exchange_seconds: float,
        stop: str = "",
        logged: Sequence[tuple[str, float]] = (),
    ) -> None:
        """Asks for work, holding parameters after `step` steps; `answer` waits for the reply.

        `stop`, if not empty, is why the run is to end after the last committed step. `logged` is what the
        script logged when it applied the last of these steps: names and values.
        """

    def ask_beside(
        self,
        step: int,
        parameters: Sequence[SupportsBuffer],
        data_seconds: float,
        compute_seconds: float,
        exchange_seconds: float,
        logged: Sequence[tuple[str, float]] = (),
        arrived: Callable[[], object] | None = None,
    ) -> ParametersHash:
        """Asks for work in a thread that first hashes `parameters`, and returns at once.

        `parameters` are C-contiguous bytes; nothing may write to them before the hash is known. If they are still being
        copied, the thread calls `arrived`, which waits for the copy. Its errors are raised by the next call.
        """

    def answer(self) -> ShardLease | Aggregate | SnapshotRequest | Snapshot | RunFinished:
        """Waits for the answer to the last question, as long as the connection lives.

        After an exception from a signal handler the connection can still be used, above all for `leave`.
        """

    def request_work(
        self,
        step: int,
        parameters_hash: bytes,
        data_seconds: float,
        compute_seconds: float,
        exchange_seconds: float,
        stop: str = "",
    ) -> ShardLease | Aggregate | SnapshotRequest | Snapshot | RunFinished:
        """Asks for work and waits for the answer."""

    def submit_and_ask(
        self,
        sums: Sequence[tuple[int, int, int, SupportsBuffer, Sequence[_Report], bytes | None]],
        step: int,
        parameters_hash: bytes,
        data_seconds: float,
        compute_seconds: float,
        exchange_seconds: float,
        logged: Sequence[tuple[str, float]] = (),
    ) -> list[tuple[Verdict, str]]:
        """Sends gradient sums and then asks for work, in one write; returns the verdict on each sum and its detail.

        A sum has the arguments of `submit`, and its content hash (`xxh3Tree`) if it is in a slot and the hash is known.
        `answer` waits for the reply to the question.
        """

    def send_and_ask(
        self,
        sums: Sequence[tuple[int, int, int, SupportsBuffer, Sequence[_Report], bytes | None]],
        step: int,
        parameters_hash: bytes,
        data_seconds: float,
        compute_seconds: float,
        exchange_seconds: float,
        logged: Sequence[tuple[str, float]] = (),
    ) -> None:
        """The same without waiting for the verdicts, which arrive before the answer."""

    def verdicts(self) -> list[tuple[Verdict, str]]:
        """Returns the verdict on each sum that was sent last, and its detail. Call it once, after `answer`."""

    def submit(
        self,
        step: int,
        first_shard: int,
        shard_count: int,
        gradients: SupportsBuffer,
        reports: Sequence[_Report],
    ) -> tuple[Verdict, str]:
        """Sends a gradient sum from the memory of `gradients` without copying it; returns the verdict and its detail.

        `gradients` is flat, C-contiguous float32 (an array, or a Buffer); it must not change until this returns.
        """

    def give_state(self, step: int, parameters_hash: bytes, parts: Sequence[SupportsBuffer]) -> None:
        """Gives the whole state, the bytes of a safetensors file in parts, which are copied before this returns.

        A thread sends the copy between what is called next. There is no reply. While one copy is being sent, this
        waits for it, so there is never more than one.
        """

    def slot(self) -> SharedBuffer | None:
        """Returns memory for gradients that are then submitted from there, without a copy: at most once, and they do
        not change after that. None if none is free, or the orchestrator is reached over TCP."""

    def shares_memory(self) -> bool:
        """Returns whether memory is shared with the orchestrator: it is reached through a Unix socket."""

    def leave(self, reason: str, broken: str = "", *, cannot_load: bool = False) -> None:
        """Leaves the run: waits at most 2 s for the reply, and closes. Its shards go to others immediately.

        `cannot_load` says that the state cannot be loaded that was received last.
        """

    def close(self) -> None:
        """Closes the connection; a call that waits in another thread raises WireError."""

@final
class Order:
    """Which samples a shard of a script's own dataset holds: what a data service would serve for these settings.

    It keeps the order of two epochs.
    """

    def __new__(
        cls,
        dataset_hash: bytes,
        seed: int,
        samples: int,
        batch_size: int,
        shards: int,
        min_shard_samples: int = 0,
    ) -> Order: ...
    def size(self, epoch_step: int, shard: int) -> int:
        """The number of samples of a shard; 0 for an empty one. Needs no order."""

    def samples(self, epoch: int, epoch_step: int, shard: int) -> list[int]:
        """The indices of a shard's samples, in their order."""

@final
class Fold:
    """Adds gradient sums that consist of the same parts, without the GIL: operands[0] + (operands[1] + (...)).

    An operand is the addresses of its parts, float32 and contiguous, in order; 0 stands for +0.0 everywhere. The caller
    holds the memory, and nobody else uses it until a call returns. Whether the thread flushes denormal numbers does not
    affect the sum.
    """

    def __new__(cls, sizes: Sequence[int]) -> Fold:
        """`sizes` are the elements of each part."""

    def in_place(self, operands: Sequence[Sequence[int]]) -> None:
        """Writes the sum of each part over the first operand that has the part (an address other than 0)."""

    def write_vector(self, operands: Sequence[Sequence[int]], out: int, digest: bool = False) -> bytes | None:
        """Writes the sum to the vector at the address `out`, which has all parts, one after the other.

        With `digest`, which is for a slot, returns the content hash (`xxh3Tree`) of the vector, computed while each
        piece is in the cache.
        """

def flushes_denormals() -> bool:
    """Whether this thread rounds denormal numbers to zero, as after `torch.set_flush_denormal(True)`."""
