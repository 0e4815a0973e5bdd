"""What the native extension survives: data services that die, restart, or take over, with heartbeats beside everything
else."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading

import pytest
from fixtures import HASH, Stop, accept_join, alarm, arguments, batch_script, dataset_info, pattern
from peer import Peer, send_batch, send_dataset, service

from pangea import _native


def test_heartbeats_come_by_themselves() -> None:
    heard = threading.Event()
    closed = threading.Event()

    def script(peer: Peer) -> None:
        joining = accept_join(peer)
        assert (joining["runId"], joining["heartbeatSeconds"]) == ("earlier", 0.002)
        for _ in range(30):
            assert (message := peer.receive_any())["type"] == "heartbeat" and message["requestId"] == 0
        heard.set()
        with pytest.raises(EOFError):
            peer.receive()
        closed.set()

    def silent(peer: Peer) -> None:
        assert accept_join(peer)["heartbeatSeconds"] == 0.0
        with pytest.raises(EOFError):
            peer.receive_any()

    with service(script) as address:
        client = _native.OrchestratorClient(address)
        client.join("worker", "torch", [], HASH, 0, dataset_info(), run_id="earlier", heartbeat_seconds=0.002)
        heard.wait()
        client.close()
        closed.wait()
    with service(silent) as address:
        client = _native.OrchestratorClient(address)
        client.join("worker", "torch", [], HASH, 0, dataset_info(), heartbeat_seconds=0)
        client.close()
    with service(accept_join_quietly) as address:
        client = _native.OrchestratorClient(address)
        for seconds in [-1.0, math.nan, math.inf]:
            with pytest.raises(ValueError, match="heartbeat_seconds must be a number of seconds, at least 0"):
                client.join("worker", "torch", [], HASH, 0, dataset_info(), heartbeat_seconds=seconds)
        assert client.join("worker", "torch", [], HASH, 0, dataset_info()).run_id == "r"
        client.close()


def accept_join_quietly(peer: Peer) -> None:
    assert accept_join(peer)["heartbeatSeconds"] == 0.1
    peer.receive()


def test_heartbeats_keep_no_process_alive() -> None:
    program = """
import sys
from pangea import _native
client = _native.OrchestratorClient(sys.argv[1])
dataset = _native.DatasetInfo(
    name="", hash=bytes(32), train_samples=1, held_out_samples=0, classes=0, features=("float32", ()), labels=("int64", ())
)
client.join("worker", "torch", [], bytes(32), 0, dataset, heartbeat_seconds=0.001)
print(flush=True)
sys.stdin.readline()
"""
    heard = threading.Event()

    def script(peer: Peer) -> None:
        request = peer.receive()
        settings = {"shards": 8, "batchSize": 64}
        peer.send("joinReply", request["requestId"], runId="r", workerId=1, settings=settings, totalSteps=1)
        assert peer.receive_any()["type"] == "heartbeat"
        heard.set()
        peer.receive()

    with service(script) as address:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", program, address], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stdin is not None
            assert process.stdout.readline() == b"\n"
            heard.wait()
            process.stdin.close()
            assert process.wait() == 0


def test_a_data_service_that_is_killed_and_comes_back() -> None:
    size = 2 * 3 * 4
    lives = [1]
    collected = threading.Event()

    def dying(peer: Peer) -> None:
        if not lives:
            return
        lives.pop()
        send_dataset(peer, peer.receive())
        for _ in range(3):
            request = peer.receive()
            send_batch(peer, request, "float32", (2, 3), pattern(size, request["batchRequest"]["step"]))
        # Closing before they were read could discard them: they would be requested again, with nobody to answer.
        collected.wait()

    with service(dying) as address:
        client = _native.DataClient(address)
        assert client.replicas() == [(address, True)]
        assert client.dataset().train_samples == 1438
        for step in range(8):
            client.prefetch(*arguments(step))
        batches = [client.batch(*arguments(step)) for step in range(3)]
        collected.set()
    # No service is there: a signal ends the wait, and the request stays.
    with alarm():
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Stop):
            client.batch(*arguments(3))
    assert client.replicas() == [(address, False)]
    with service(batch_script("float32", (2, 3)), int(address.split(":")[1])):
        batches += [client.batch(*arguments(step)) for step in range(3, 8)]
        client.close()
    assert [bytes(batch.features.buffer) for batch in batches] == [pattern(size, step) for step in range(8)]


def test_another_replica_takes_over() -> None:
    def dying(peer: Peer) -> None:
        send_dataset(peer, peer.receive())
        peer.receive()

    with service(batch_script("float32", (2, 3))) as living, service(dying) as dead:
        client = _native.DataClient(f"{dead},{living}")
        for step in range(20):
            client.prefetch(*arguments(step))
        for step in range(20):
            assert bytes(client.batch(*arguments(step)).features.buffer) == pattern(24, step)
        client.close()


def test_without_any_replica_the_wait_ends() -> None:
    def gone(peer: Peer) -> None:
        send_dataset(peer, peer.receive())

    with service(gone) as address:
        client = _native.DataClient(address, reconnect_seconds=0.2)
    with pytest.raises(_native.WireError, match=f"no data service was reachable for 0.2 s at {address}") as failed:
        client.batch(*arguments(0))
    assert failed.value.kind == "unreachable"
    client.close()
    with pytest.raises(ValueError, match="reconnect_seconds must be a number of seconds, at least 0"):
        _native.DataClient(address, reconnect_seconds=math.nan)
