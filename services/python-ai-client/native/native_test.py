"""The native extension as Python and torch see it: shared memory, lifetimes, signals, errors."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import HASH, Stop, accept_join, alarm, arguments, batch_script, dataset_info, joined, pattern
from peer import Peer, content_hash, service

from pangea import _native
from pangea.errors import PangeaError
from schemas import tensor_capnp

DTYPES = ["float32", "float64", "bfloat16", "float16", "int32", "int64", "uint8", "bool", "int8", "int16"]


def as_tensor(view: _native.TensorView) -> torch.Tensor:
    return torch.frombuffer(view.buffer, dtype=getattr(torch, view.dtype)).reshape(view.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_share_the_received_memory(dtype: str) -> None:
    shape = (5, 3, 7)
    with service(batch_script(dtype, shape)) as address:
        client = _native.DataClient(address)
        batch = client.batch(*arguments(4))
        client.close()
    view = batch.features
    assert (view.dtype, view.shape, len(view.buffer)) == (
        dtype,
        shape,
        math.prod(shape) * getattr(torch, dtype).itemsize,
    )
    features = as_tensor(view)
    raw = np.frombuffer(view.buffer, np.uint8)
    assert raw.tobytes() == pattern(len(view.buffer), 4)
    assert features.data_ptr() == raw.ctypes.data, "torch uses the buffer's own memory"
    assert features.data_ptr() % 64 == 0
    assert as_tensor(batch.sample_ids).tolist() == list(range(5))
    # Writable: torch operations in place are seen through any other view.
    features.zero_()
    assert not raw.any()
    with memoryview(view.buffer) as memory:
        assert (memory.format, memory.readonly, memory.nbytes) == ("B", False, raw.nbytes)


def test_an_empty_shard() -> None:
    with service(batch_script("float32", (0, 4))) as address:
        batch = _native.DataClient(address).batch(*arguments(0))
        assert (batch.features.shape, len(batch.features.buffer)) == ((0, 4), 0)
        assert bytes(batch.features.buffer) == b""


def test_views_outlive_batches_and_connections() -> None:
    shape = (64, 784)
    with service(batch_script("float32", shape)) as address:
        client = _native.DataClient(address)
        kept = as_tensor(client.batch(*arguments(1)).features)
        memory = memoryview(client.batch(*arguments(2)).labels.buffer)
        for step in range(3, 40):
            client.prefetch(*arguments(step))
        # Closed while most of the requested batches are still on their way.
        client.batch(*arguments(3))
        del client
        gc.collect()
        other = _native.DataClient(address)
        for step in range(40, 80):
            other.batch(*arguments(step))
        other.close()
    gc.collect()
    assert kept.numpy().tobytes() == pattern(kept.nbytes, 1)
    assert memory.tobytes() == b"\1" * 64


def golden_content(start: int, size: int) -> bytes:
    """The bytes of a tensor in the golden vectors; libraries/content-hash/README.md has the formula."""
    numbers = np.arange(start, start + size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (numbers >> np.uint64(56)).astype(np.uint8).tobytes()


def test_content_hashes_are_those_of_every_language() -> None:
    cases = json.loads(Path(os.environ["VECTORS"]).read_text())
    assert len(cases) > 20
    for case in cases:
        tensors = [golden_content(*tensor) for tensor in case["tensors"]]
        for method in _native.CONTENT_HASHES:
            assert _native.content_hash(tensors, method).hex() == case[method], (method, case["tensors"])
            assert content_hash(tensors, method).hex() == case[method], (method, case["tensors"])
        assert _native.content_hash(tensors).hex() == case["xxh3Tree"], "it is the default"


def test_a_content_hash_takes_contiguous_bytes_from_any_thread() -> None:
    values = np.arange(3_000_000, dtype=np.float32)
    expected = _native.content_hash([values.tobytes()])
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(_native.content_hash([values.view(np.uint8)])))
    thread.start()
    thread.join()
    assert found == [expected]
    with pytest.raises(TypeError, match="no buffer of bytes"):
        _native.content_hash([values])
    with pytest.raises(ValueError, match="not C-contiguous"):
        _native.content_hash([values.view(np.uint8)[::2]])
    with pytest.raises(ValueError, match="content hash `md5` is none of `sha256`, `xxh3Tree`"):
        _native.content_hash([], "md5")


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_leak_and_no_corruption_under_stress() -> None:
    """Thousands of batches, some kept for a while, over connections that come and go."""
    shape = (64, 784)
    size = math.prod(shape) * 4
    with service(batch_script("float32", shape)) as address:
        client = _native.DataClient(address)
        window: list[tuple[int, torch.Tensor]] = []
        settled = 0
        for step in range(2000):
            if step % 100 == 99:
                client = _native.DataClient(address)
            client.prefetch(*arguments(step + 1))
            window.append((step, as_tensor(client.batch(*arguments(step)).features)))
            if len(window) > 16:
                # Not the oldest first: memory is returned in a different order than it was taken.
                kept_step, kept = window.pop(step * 7 % len(window))
                if step % 5 == 0:
                    assert kept.numpy().tobytes() == pattern(size, kept_step)
            if step == 500:
                settled = resident_bytes()
        growth = resident_bytes() - settled
        for kept_step, kept in window:
            assert kept.numpy().tobytes() == pattern(size, kept_step)
        del client
    # 1500 batches of 200 KB would be 300 MB.
    assert growth < 40 << 20, f"grew by {growth >> 20} MiB"


def test_waiting_is_quiet_and_signals_end_it() -> None:
    left = threading.Event()

    def script(peer: Peer) -> None:
        accept_join(peer)
        assert peer.receive()["type"] == "workRequest"
        request = peer.receive()
        assert request["leave"]["reason"] == "stopped"
        left.set()
        peer.send("leave", request["requestId"])

    with alarm(), service(script) as address:
        client = joined(address, [])
        started, used = time.monotonic(), time.process_time()
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(Stop):
            client.request_work(0, HASH, 0.0, 0.0, 0.0)
        assert time.monotonic() - started < 5.0
        assert time.process_time() - used < 0.25, "waiting must not use the processor"
        client.leave("stopped")
        assert left.is_set()


def test_close_ends_a_wait_of_another_thread() -> None:
    asked = threading.Event()

    def script(peer: Peer) -> None:
        accept_join(peer)
        peer.receive()
        asked.set()
        peer.receive()

    raised: list[BaseException] = []
    with service(script) as address:
        client = joined(address, [])

        def wait() -> None:
            try:
                client.request_work(0, HASH, 0.0, 0.0, 0.0)
            except _native.WireError as error:
                raised.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        asked.wait()
        with pytest.raises(RuntimeError, match="in use by another call"):
            client.request_work(0, HASH, 0.0, 0.0, 0.0)
        client.close()
        thread.join()
        assert address in str(raised[0])
        with pytest.raises(_native.WireError):
            client.request_work(0, HASH, 0.0, 0.0, 0.0)


def test_errors_say_what_and_where() -> None:
    """The message is for people, the kind for programs."""

    def silent(peer: Peer) -> None:
        accept_join(peer)
        with contextlib.suppress(EOFError):
            peer.receive()
            peer.receive()

    def closing(peer: Peer) -> None:
        accept_join(peer)
        peer.receive()

    def babbling(peer: Peer) -> None:
        accept_join(peer)
        settings = {"shards": 8, "batchSize": 64}
        peer.send("joinReply", peer.receive()["requestId"], runId="r", workerId=1, settings=settings, totalSteps=1)

    def refusing(peer: Peer) -> None:
        peer.send("errorReply", peer.receive()["requestId"], action="fixRequest", detail="this is not a data service")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(
        _native.WireError, match=f"cannot connect to {address} within 0.2 s: Connection refused"
    ) as failed:
        _native.DataClient(address, timeout=0.2)
    assert failed.value.kind == "connect"
    with pytest.raises(ValueError, match="`nowhere` is not host:port"):
        _native.OrchestratorClient("nowhere")
    for timeout in [0.0, -1.0, math.nan, math.inf]:
        with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
            _native.DataClient(address, timeout)
    with service(batch_script("float32", (1, 2))) as address:
        client = _native.DataClient(address, max_frame_bytes=400)
        with pytest.raises(ValueError, match="split `test` is neither"):
            client.batch("test", 7, 0, 0, 64, 0, 8)
        with pytest.raises(OverflowError):
            client.batch("train", 7, -1, 0, 64, 0, 8)
        assert len(client.batch(*arguments(0)).features.buffer) == 8
        client.close()
        with pytest.raises(_native.WireError, match=f"{address} was closed") as failed:
            client.batch(*arguments(0))
        assert failed.value.kind == "closed"
    with (
        service(batch_script("float32", (1, 2000))) as address,
        pytest.raises(_native.WireError, match=f"{address}: bytes of a frame: .* the limit is 400") as failed,
    ):
        _native.DataClient(address, max_frame_bytes=400).batch(*arguments(0))
    assert failed.value.kind == "limit"
    with (
        service(refusing) as address,
        pytest.raises(_native.WireError, match="fixRequest: this is not a data service") as failed,
    ):
        _native.DataClient(address)
    assert failed.value.kind == "unusable"
    for script, kind in [(closing, "lost"), (babbling, "protocol")]:
        with service(script) as address, pytest.raises(_native.WireError) as failed:
            joined(address, []).request_work(0, HASH, 0.0, 0.0, 0.0)
        assert failed.value.kind == kind
    with service(silent) as address:
        client_of_a_silent_one = _native.OrchestratorClient(address, 0.3)
        client_of_a_silent_one.join("worker", "torch", [], HASH, 0, dataset_info(), heartbeat_seconds=0)
        with pytest.raises(_native.WireError, match="no progress for 0.3 s while waiting for a reply") as failed:
            client_of_a_silent_one.submit(0, 0, 1, np.zeros(0, np.float32), [])
        assert failed.value.kind == "stalled"
    with pytest.raises(ValueError, match="dtype `float` is not one of float32, float64"):
        _native.DatasetInfo(
            name="",
            hash=HASH,
            train_samples=1,
            held_out_samples=0,
            classes=0,
            features=("float", ()),
            labels=("int64", ()),
        )


def test_wrong_operands_of_a_sum_are_refused() -> None:
    fold = _native.Fold([2, 1])
    with pytest.raises(ValueError, match="there is nothing to add"):
        fold.in_place([])
    with pytest.raises(ValueError, match="an operand has 1 parts instead of 2"):
        fold.in_place([[0, 0], [0]])
    with pytest.raises(ValueError, match="0x7 is not the address of float32 elements"):
        fold.in_place([[7, 0]])
    for out in (0, 6):
        with pytest.raises(ValueError, match=f"{out:#x} is not the address of a vector of float32"):
            fold.write_vector([[0, 0]], out)


def test_sums_are_added_in_place_and_into_vectors() -> None:
    fold = _native.Fold([2, 1])
    left, right = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    single = np.array([5], np.float32)
    operands = [[left.ctypes.data, 0], [right.ctypes.data, single.ctypes.data]]
    vector = np.full(3, np.nan, np.float32)
    fold.write_vector(operands, vector.ctypes.data)
    assert vector.tolist() == [11, 22, 5]
    assert fold.write_vector(operands, vector.ctypes.data, digest=True) == _native.content_hash([vector.data.cast("B")])
    fold.in_place(operands)
    assert (left.tolist(), right.tolist(), single.tolist()) == ([11, 22], [10, 20], [5])


PAGES = """
import resource, torch
from pangea import _native
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    before = faults()
    torch.ones(1 << 24)
print(_native.ALLOCATOR, faults() - before)
"""


def in_new_process(script: str, malloc: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PANGEA_MALLOC"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)} | ({} if malloc is None else {"PANGEA_MALLOC": malloc})
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_freed_memory_stays_with_the_process_unless_the_system_is_asked_for() -> None:
    faults: dict[str, int] = {}
    for malloc in (None, "system"):
        allocator, count = in_new_process(PAGES, malloc).stdout.split()
        faults[allocator] = int(count)
    assert sorted(faults) == ["system", "tuned"]
    assert faults["tuned"] < 100 < faults["system"], "64 MiB of new pages, for each tensor anew"


def test_another_allocator_is_refused() -> None:
    refused = in_new_process("from pangea import _native", "jemalloc")
    assert refused.returncode == 1
    assert 'PANGEA_MALLOC is "jemalloc"; it must be "system"' in refused.stderr


def literals() -> dict[str, list[str]]:
    """The closed sets of names in the stub of the extension."""
    stub = ast.parse(Path(_native.__file__).with_name("_native.pyi").read_text())
    found: dict[str, list[str]] = {}
    for statement in stub.body:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Subscript)
            and ast.unparse(statement.value.value) == "Literal"
        ):
            values = ast.literal_eval(statement.value.slice)
            found[ast.unparse(statement.targets[0])] = list(values)
    return found


def test_the_stub_names_what_the_schema_names() -> None:
    kinds = {
        "ContentHash": tensor_capnp.ContentHash,
        "DType": tensor_capnp.DataType,
        "Split": tensor_capnp.Split,
        "Action": tensor_capnp.ErrorAction,
        "Verdict": tensor_capnp.Verdict,
    }
    named = {
        name: sorted(set(kind.schema.enumerants) - {"unspecified"})  # type: ignore[attr-defined]
        for name, kind in kinds.items()
    }
    named["ErrorKind"] = sorted(_native.ERROR_KINDS)
    assert {name: sorted(values) for name, values in literals().items()} == named


def test_kinds_are_a_closed_set() -> None:
    assert len(set(_native.ERROR_KINDS)) == len(_native.ERROR_KINDS)
    assert (_native.WireError("raised by Python").kind, _native.PeerError("raised by Python").kind) == (
        "lost",
        "refused",
    )


def test_types_name_their_module() -> None:
    for kind in [_native.Buffer, _native.Batch, _native.WireError, _native.PeerError, _native.OrchestratorClient]:
        assert kind.__module__ == "pangea._native"


def test_errors_of_the_wire_are_errors_that_the_command_prints_as_a_sentence() -> None:
    assert issubclass(_native.WireError, PangeaError) and issubclass(_native.PeerError, PangeaError)
