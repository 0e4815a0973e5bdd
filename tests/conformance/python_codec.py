"""The Python side of the conformance tests, over pycapnp; a program of its own, because pycapnp can abort its process
on bad input.

write: JSON lines on stdin to frames on stdout. read: frames on stdin to JSON lines. cut: one frame on stdin; for each
of its prefixes a line with the outcome of reading it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from schemas import tensor_capnp

# Words that the getters of one message may visit: 4 times the largest frame.
TRAVERSAL = 4 * tensor_capnp.maxFrameBytes // 8


def pattern(tensor: dict[str, Any]) -> bytes:
    """The data of a piece: a cycle of 251 bytes, shifted by the seed; 0 and 1 for bool."""
    modulus = 2 if tensor["dtype"] == "bool" else 256
    cycle = bytes((i * 7 + tensor["seed"]) % modulus for i in range(251))
    return (cycle * (tensor["length"] // 251 + 1))[: tensor["length"]]


def bits_of(value: float) -> int:
    """The bits of a float64 as a number."""
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def float_of(bits: int) -> float:
    """The float64 with these bits."""
    value: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return value


def write() -> None:
    for line in sys.stdin:
        update = json.loads(line)
        tensors = [
            {
                "name": t["name"],
                "dtype": t["dtype"],
                "shape": t["shape"],
                "byteOffset": t["byteOffset"],
                "data": pattern(t),
            }
            for t in update["tensors"]
        ]
        reports = [
            {
                **report,
                "lossSum": float_of(report["lossSum"]),
                "weight": float_of(report["weight"]),
                "batchHash": bytes.fromhex(report["batchHash"]),
                "figures": [{**figure, "value": float_of(figure["value"])} for figure in report["figures"]],
            }
            for report in update.get("reports", [])
        ]
        gradient = {"step": update["step"], "final": update["final"], "gradients": tensors, "reports": reports}
        message = tensor_capnp.Message.new_message(
            type="gradientUpdate", requestId=update["requestId"], gradientUpdate=gradient
        )
        sys.stdout.buffer.write(message.to_bytes())


def _dtype(tensor: tensor_capnp.Tensor.Reader) -> str:
    return str(tensor.dtype)


def known(get: Callable[[], str], what: str) -> str:
    """The name of an enum's value. For one that the schema does not name, pycapnp only says "Member was null"."""
    try:
        return get()
    except Exception as error:
        raise ValueError(f"unsupported: {what} has a value that this schema does not name") from error


def describe(message: tensor_capnp.Message.Reader) -> dict[str, Any]:
    """The content of a frame. Raises ValueError for values that this reader does not know."""
    kind = known(lambda: str(message.type), "type")
    if kind != "gradientUpdate" or message.which() != kind:
        raise ValueError(f"unsupported: a {kind}")
    update = message.gradientUpdate
    tensors = []
    for tensor in update.gradients:
        dtype = known(partial(_dtype, tensor), "dtype")
        data = tensor.data
        described = {
            "name": tensor.name,
            "dtype": dtype,
            "shape": list(tensor.shape),
            "byteOffset": tensor.byteOffset,
            "length": len(data),
        }
        tensors.append({**described, "sha256": hashlib.sha256(data).hexdigest()})
    return {
        "requestId": message.requestId,
        "step": update.step,
        "final": update.final,
        "tensors": tensors,
        "reports": [_report(report) for report in update.reports],
    }


def _report(report: tensor_capnp.ShardReport.Reader) -> dict[str, Any]:
    counts = {
        "shard": report.shard,
        "samples": report.samples,
        "lossSum": bits_of(report.lossSum),
        "batchHash": bytes(report.batchHash).hex(),
    }
    figures = [{"name": figure.name, "value": bits_of(figure.value)} for figure in report.figures]
    return {
        **counts,
        "weight": bits_of(report.weight),
        "summed": report.summed,
        "stop": report.stop,
        "figures": figures,
    }


def read() -> None:
    for message in tensor_capnp.Message.read_multiple_bytes(
        sys.stdin.buffer.read(), traversal_limit_in_words=TRAVERSAL
    ):
        print(json.dumps(describe(message)))


def cut() -> None:
    whole = sys.stdin.buffer.read()
    for length in range(len(whole)):
        try:
            messages = [
                describe(message)
                for message in tensor_capnp.Message.read_multiple_bytes(
                    whole[:length], traversal_limit_in_words=TRAVERSAL
                )
            ]
            print("frame" if messages else "end")
        except Exception as error:
            print("error:", str(error).replace("\n", " "))


if __name__ == "__main__":
    try:
        {"write": write, "read": read, "cut": cut}[sys.argv[1]]()
    except Exception as error:
        sys.exit(f"python_codec: {error}")
