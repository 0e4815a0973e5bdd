"""The other side of a connection for tests: a service in a thread that speaks the schema through pycapnp."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import xxhash

from schemas import tensor_capnp

SENTINEL = 0x5EA1ED0FF5E7DA7A


class Peer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.heartbeats = 0

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._connection.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def receive(self) -> dict[str, Any]:
        """The next message that is not a heartbeat; heartbeats are counted. Raises EOFError when the worker closes."""
        while (message := self.receive_any())["type"] == "heartbeat":
            assert message["requestId"] == 0
            self.heartbeats += 1
        return message

    def receive_any(self) -> dict[str, Any]:
        """The next message, as pycapnp's dictionary. Raises EOFError when the worker closes."""
        first = self._read(8)
        last_segment = struct.unpack_from("<I", first)[0]
        table = first + self._read((last_segment + 1) // 2 * 8)
        sizes = struct.unpack_from(f"<{last_segment + 1}I", table, 4)
        frame = table + self._read(8 * sum(sizes))
        limit = 4 * len(frame)
        with tensor_capnp.Message.from_bytes(frame, traversal_limit_in_words=limit) as message:
            return message.to_dict()

    def send(self, kind: str, request_id: int, **fields: Any) -> None:
        """Sends a message of type `kind`; pycapnp keeps all data in its own segments."""
        self._connection.sendall(_message(kind, request_id, fields))

    def send_in_place(self, kind: str, request_id: int, payloads: list[bytes], **fields: Any) -> None:
        """The same, but the i-th tensor whose byteOffset is SENTINEL + i gets payloads[i] as a segment of its own."""
        self._connection.sendall(_with_payloads(_message(kind, request_id, fields), payloads))


def _message(kind: str, request_id: int, fields: dict[str, Any]) -> bytes:
    message = tensor_capnp.Message.new_message(type=kind, requestId=request_id)
    message.init(kind).from_dict(fields)
    return message.to_bytes()


def _with_payloads(frame: bytes, payloads: list[bytes]) -> bytes:
    """Turns null data pointers into double-far pointers: a second implementation of what the wire library does."""
    segments, _words = struct.unpack_from("<II", frame)
    assert segments == 0, "the small message fits one segment"
    segment = bytearray(frame[8:])
    sizes, body = [], b""
    for index, payload in enumerate(payloads):
        place = segment.index(struct.pack("<Q", SENTINEL + index))
        struct.pack_into("<Q", segment, place, 0)
        if not payload:
            continue
        # After byteOffset come the pointers: name, shape, data.
        sizes.append(-(-len(payload) // 8))
        struct.pack_into("<Q", segment, place + 24, len(segment) << 0 | 6)
        segment += struct.pack("<II", 2, len(sizes)) + struct.pack("<II", 1, len(payload) << 3 | 2)
        body += payload + bytes(-len(payload) % 8)
    table = struct.pack(f"<{len(sizes) + 2}I", len(sizes), len(segment) // 8, *sizes)
    return table + bytes(-len(table) % 8) + bytes(segment) + body


@contextlib.contextmanager
def service(script: Callable[[Peer], None], port: int = 0) -> Iterator[str]:
    """Runs `script` for each connection and yields the address. An exception of a script is raised at the end.

    Args:
        port: the port of an earlier service; 0 for a free one.
    """
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", port))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                script(Peer(connection))
            except (EOFError, ConnectionError):
                pass
            except BaseException as error:
                errors.append(error)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    host, port = listener.getsockname()
    try:
        yield f"{host}:{port}"
    except BaseException:
        # A failed test has left its client open; the scripts would wait for it.
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        raise
    finally:
        # Closing alone does not wake a thread in accept.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join()
    if errors:
        raise errors[0]


def tensor(dtype: str, shape: tuple[int, ...], index: int) -> dict[str, Any]:
    """A tensor whose data is the payload `index`."""
    return {"dtype": dtype, "shape": list(shape), "byteOffset": SENTINEL + index}


def send_dataset(peer: Peer, request: dict[str, Any], hash: bytes = bytes(32)) -> None:
    """Answers a dataset request, the first one of each connection of a data client."""
    peer.send(
        "datasetInfo",
        request["requestId"],
        name="digits",
        hash=hash,
        trainSamples=1438,
        heldOutSamples=359,
        classes=10,
        features={"dtype": "float32", "shape": [1, 8, 8]},
        labels={"dtype": "int64", "shape": []},
    )


def content_hash(tensors: list[bytes], method: str) -> bytes:
    """The content hash, by code that shares nothing with ours; see docs/reference/ledger.md."""
    if method == "sha256":
        return hashlib.sha256(b"".join(tensors)).digest()
    root, block = hashlib.sha256(b"pangea/content/1\0"), 4 << 20
    for data in tensors:
        root.update(len(data).to_bytes(8, "little"))
        for start in range(0, len(data), block):
            root.update(xxhash.xxh3_128_digest(data[start : start + block]))
    return root.digest()


def send_batch(peer: Peer, request: dict[str, Any], dtype: str, shape: tuple[int, ...], features: bytes) -> None:
    """Answers a batch request: n = shape[0] samples with these features, ids counted from 0, labels all 1."""
    asked, samples = request["batchRequest"], shape[0]
    payloads = [
        b"".join(struct.pack("<q", sample) for sample in range(samples)),
        features,
        b"\1" * samples,
    ]
    peer.send_in_place(
        "trainingBatch",
        request["requestId"],
        payloads,
        split=asked["split"],
        epoch=asked["epoch"],
        step=asked["step"],
        shard=asked["shard"],
        epochSteps=22,
        hash=content_hash(payloads, asked["contentHash"]),
        sampleIds=tensor("int64", (samples,), 0),
        features=tensor(dtype, shape, 1),
        labels=tensor("uint8", (samples,), 2),
    )
