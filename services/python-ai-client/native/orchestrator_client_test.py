"""The client of the orchestrator as Python sees it: sums, questions and answers."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from fixtures import HASH, accept_join, joined, pattern
from peer import Peer, service

from pangea import _native


def test_gradients_go_out_and_come_back() -> None:
    flat = np.arange(1_500_000, dtype=np.float32)
    parameters = [("weight", "float32", (1_400_000,)), ("none", "float32", (0,)), ("bias", "bfloat16", (10, 10_000))]
    updates: list[bytes] = []

    def script(peer: Peer) -> None:
        accept_join(peer)
        for verdict in ["accepted", "stale"]:
            chunks: list[bytes] = []
            while True:
                request = peer.receive()
                update = request["gradientUpdate"]
                sizes = [len(piece["data"]) for piece in update["gradients"]]
                assert 0 < sum(sizes) <= 4 << 20
                chunks.extend(piece["data"] for piece in update["gradients"])
                if update["final"]:
                    break
            report = update["reports"][0]
            assert (report["batchHash"], report["weight"], report["summed"], report["stop"]) == (
                HASH,
                6.5,
                True,
                "good enough",
            )
            assert report["figures"] == [{"name": "accuracy", "value": 0.5}, {"name": "tries", "value": 2.0}]
            updates.append(b"".join(chunks))
            peer.send("gradientAck", request["requestId"], verdict=verdict, detail="")
        request = peer.receive()
        assert request["workRequest"]["timings"] == {"data": 0.25, "compute": 1.0, "exchange": 0.5}
        data = flat.tobytes()
        pieces = [
            {"name": "weight", "dtype": "float32", "shape": [1_400_000], "data": data[:4_000_000]},
            {
                "name": "weight",
                "dtype": "float32",
                "shape": [1_400_000],
                "byteOffset": 4_000_000,
                "data": data[4_000_000:5_600_000],
            },
            {"name": "bias", "dtype": "float32", "shape": [10, 10_000], "data": data[5_600_000:]},
        ]
        counts = {"step": 3, "samples": 64, "lossSum": 1.25, "divisor": 60.5}
        peer.send("aggregate", request["requestId"], **counts, gradients=pieces[:1])
        digest = hashlib.sha256(data).digest()
        peer.send("aggregate", request["requestId"], **counts, gradients=pieces[1:], final=True, hash=digest)

    with service(script) as address:
        client = joined(address, parameters)
        report = [(0, 8, 1.5, HASH, 6.5, True, "good enough", [("accuracy", 0.5), ("tries", 2.0)])]
        assert client.submit(3, 0, 1, flat, report) == ("accepted", "")
        with pytest.raises(ValueError, match="gradients has 8 bytes, the parameters need 6000000"):
            client.submit(3, 0, 1, flat[:2], report)
        with pytest.raises(ValueError, match="not C-contiguous"):
            client.submit(3, 0, 1, np.zeros(3_000_000, np.float32)[::2], report)
        with pytest.raises(TypeError, match=r"no buffer of float32 elements .*tensor.numpy\(\)"):
            client.submit(3, 0, 1, torch.zeros(1_500_000), report)
        with pytest.raises(TypeError, match="no buffer of float32 elements"):
            client.submit(3, 0, 1, np.zeros(750_000, np.float64), report)
        with pytest.raises(ValueError, match="31 bytes, a hash has 32"):
            client.submit(3, 0, 1, flat, [(0, 8, 1.5, HASH[1:], 8.0, False, "", ())])
        assert client.submit(3, 0, 1, torch.from_numpy(flat).numpy(), report) == ("stale", "")
        aggregate = client.request_work(3, HASH, 0.25, 1.0, 0.5)
        assert isinstance(aggregate, _native.Aggregate)
        assert (aggregate.step, aggregate.samples, aggregate.loss_sum, aggregate.divisor) == (3, 64, 1.25, 60.5)
        assert aggregate.hash == hashlib.sha256(flat).digest()
        client.close()
    assert updates == [flat.tobytes(), flat.tobytes()]
    gradients = torch.frombuffer(aggregate.gradients, dtype=torch.float32)
    del aggregate
    gc.collect()
    assert gradients.data_ptr() % 64 == 0
    assert torch.equal(gradients, torch.from_numpy(flat))


def test_other_answers_to_a_request_for_work() -> None:
    snapshot = pattern(3_000_000, 1)

    def script(peer: Peer) -> None:
        accept_join(peer)
        request = peer.receive()
        peer.send("shardLease", request["requestId"], step=4, epoch=1, epochStep=2, shards=[0, 1, 5], separate=[1, 5])
        request = peer.receive()
        peer.send("snapshotRequest", request["requestId"], step=4)
        # The frames of the state come between those of what the worker does next.
        frames = [peer.receive()]
        while not frames[-1].get("snapshot", {}).get("final"):
            frames.append(peer.receive())
        pieces = [frame["snapshot"] for frame in frames if "snapshot" in frame]
        requests = [frame for frame in frames if "snapshot" not in frame]
        assert b"".join(piece["data"] for piece in pieces) == snapshot
        assert pieces[-1]["hash"] == hashlib.sha256(snapshot).digest()
        request = requests[0] if requests else peer.receive()
        peer.send("snapshot", request["requestId"], **pieces[-1] | {"byteOffset": 0, "data": snapshot})
        request = peer.receive()
        peer.send("errorReply", request["requestId"], action="retryLater", detail="starting", retryAfter=0.5)
        request = peer.receive()
        assert request["workRequest"]["stop"] == "the script left its loop"
        peer.send(
            "runFinished",
            request["requestId"],
            steps=46,
            parametersHash=HASH,
            incidents=2,
            stopped="the script left its loop",
        )

    with service(script) as address:
        client = joined(address, [])

        def ask(stop: str = "") -> Any:
            return client.request_work(4, HASH, 0.0, 0.0, 0.0, stop)

        lease = ask()
        assert isinstance(lease, _native.ShardLease)
        assert (lease.step, lease.epoch, lease.epoch_step, lease.shards, lease.separate) == (4, 1, 2, [0, 1, 5], [1, 5])
        asked = ask()
        assert isinstance(asked, _native.SnapshotRequest) and asked.step == 4
        client.give_state(4, HASH, [snapshot[:8], b"", memoryview(snapshot)[8:]])
        received = ask()
        assert isinstance(received, _native.Snapshot) and bytes(received.data) == snapshot
        with pytest.raises(_native.PeerError, match="retryLater: starting") as refused:
            ask()
        assert (refused.value.kind, refused.value.action, refused.value.detail, refused.value.retry_after) == (
            "refused",
            "retryLater",
            "starting",
            0.5,
        )
        finished = ask("the script left its loop")
        assert isinstance(finished, _native.RunFinished) and (finished.steps, finished.parameters_hash) == (46, HASH)
        assert (finished.incidents, finished.stopped) == (2, "the script left its loop")
        client.close()


@pytest.mark.parametrize("size", [64, 3_000_000])
def test_parameters_are_hashed_before_the_question(size: int) -> None:
    parameters = [pattern(size, 1), b"", pattern(64, 2)]
    expected = hashlib.sha256(b"".join(parameters)).digest()

    def script(peer: Peer) -> None:
        accept_join(peer)
        for _ in range(2):
            request = peer.receive()
            assert request["workRequest"]["parametersHash"] == expected
            assert request["workRequest"]["timings"] == {"data": 0.25, "compute": 1.0, "exchange": 0.5}
            peer.send("shardLease", request["requestId"], step=4, shards=[3])
        peer.receive()  # the third question, which is not answered
        request = peer.receive()
        assert request["leave"]["reason"] == "stopped"
        peer.send("leave", request["requestId"])

    with service(script) as address:
        client = joined(address, [])
        for _ in range(2):
            hashing = client.ask_beside(4, parameters, 0.25, 1.0, 0.5)
            lease = client.answer()
            assert isinstance(lease, _native.ShardLease) and lease.shards == [3]
            assert hashing.value() == hashing.value() == expected
        client.ask_beside(4, parameters, 0.25, 1.0, 0.5)
        client.leave("stopped")


def test_parameters_that_are_still_copied_are_hashed_when_they_have_arrived() -> None:
    parameters = bytearray(64)

    def script(peer: Peer) -> None:
        accept_join(peer)
        request = peer.receive()
        assert request["workRequest"]["parametersHash"] == hashlib.sha256(pattern(64, 2)).digest()
        peer.send("shardLease", request["requestId"], step=4, shards=[3])
        request = peer.receive()
        assert request["leave"]["reason"] == "stopped"
        peer.send("leave", request["requestId"])

    def arrive() -> None:
        parameters[:] = pattern(64, 2)

    def fail() -> None:
        raise RuntimeError("the device is gone")

    with service(script) as address:
        client = joined(address, [])
        hashing = client.ask_beside(4, [parameters], 0.0, 0.0, 0.0, arrived=arrive)
        assert isinstance(client.answer(), _native.ShardLease)
        assert hashing.value() == hashlib.sha256(pattern(64, 2)).digest()
        hashing = client.ask_beside(4, [parameters], 0.0, 0.0, 0.0, arrived=fail)
        with pytest.raises(ValueError, match="copying the parameters.*the device is gone"):
            client.answer()
        with pytest.raises(RuntimeError, match="were not hashed"):
            hashing.value()
        client.leave("stopped")


def test_an_error_of_the_asking_thread_is_raised_by_the_next_call() -> None:
    with service(accept_join) as address:
        client = joined(address, [])
        with contextlib.suppress(_native.WireError):
            client.request_work(0, HASH, 0.0, 0.0, 0.0)  # the service has closed the connection
        many = pattern(300_000, 1)
        hashing = client.ask_beside(4, [many], 0.0, 0.0, 0.0)
        with pytest.raises(_native.WireError, match="open a new connection"):
            client.answer()
        assert hashing.value() == hashlib.sha256(many).digest()
        client.close()
        hashing = client.ask_beside(4, [many], 0.0, 0.0, 0.0)
        with pytest.raises(_native.WireError, match="closed by `close`"):
            client.answer()
        assert hashing.value() == hashlib.sha256(many).digest()


def test_few_parameters_are_hashed_by_the_caller_who_learns_of_an_error_at_once() -> None:
    with service(accept_join) as address:
        client = joined(address, [])
        client.close()
        with pytest.raises(_native.WireError, match="closed by `close`"):
            client.ask_beside(4, [b"12"], 0.0, 0.0, 0.0)


def test_sums_and_the_next_question_leave_in_one_write() -> None:
    flat = np.arange(6, dtype=np.float32)

    def script(peer: Peer) -> None:
        accept_join(peer)
        # Everything arrives before anything is answered.
        first, second, question = peer.receive(), peer.receive(), peer.receive()
        assert (first["gradientUpdate"]["firstShard"], second["gradientUpdate"]["firstShard"]) == (0, 2)
        assert question["workRequest"]["step"] == 3
        for update, verdict in ((first, "accepted"), (second, "duplicate")):
            peer.send("gradientAck", update["requestId"], verdict=verdict, detail="")
        peer.send("snapshotRequest", question["requestId"], step=3)

    with service(script) as address:
        client = joined(address, [("weight", "float32", (6,))])
        reports = [(shard, 8, 1.5, HASH, 6.5, False, "", ()) for shard in range(3)]
        sums = [(3, 0, 2, flat, reports[:2], None), (3, 2, 1, flat, reports[2:], None)]
        client.send_and_ask(sums, 3, HASH, 0.0, 0.0, 0.0)
        # The verdicts arrive before the answer, and are not waited for apart from it.
        assert isinstance(client.answer(), _native.SnapshotRequest)
        assert client.verdicts() == [("accepted", ""), ("duplicate", "")]
        assert client.verdicts() == []
        with pytest.raises(ValueError, match="ask for work before waiting"):
            client.answer()
        client.close()
