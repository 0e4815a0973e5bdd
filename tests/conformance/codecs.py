"""The four implementations behind one interface, and the frames that they exchange."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schemas import tensor_capnp
from tests.conformance.python_codec import bits_of, float_of, pattern

Update = dict[str, Any]
Report = dict[str, Any]
ITEM_BYTES = {
    "float32": 4,
    "float64": 8,
    "bfloat16": 2,
    "float16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "bool": 1,
    "int8": 1,
    "int16": 2,
}
CODECS = ["go", "rust", "python", "capnp"]


class Unreadable(Exception):
    """A codec refused its input with a message; a crash is not a refusal."""


def run(command: list[str], given: bytes) -> bytes:
    """The output of a program. Raises Unreadable if it exits with 1 and says why, AssertionError if it crashes."""
    result = subprocess.run(command, input=given, capture_output=True, check=False)
    if result.returncode == 0:
        return result.stdout
    said = result.stderr.decode(errors="replace")
    assert result.returncode == 1, f"{command[0]} crashed ({result.returncode}): {said}"
    assert said.strip(), f"{command[0]} refused without a message"
    assert "panic" not in said, said
    raise Unreadable(said)


def command(codec: str) -> list[str]:
    """The command that starts a codec; a verb follows."""
    if codec == "python":
        return [os.environ.get("PANGEA_PYTHON", sys.executable), str(Path(__file__).with_name("python_codec.py"))]
    return [os.environ[f"{codec.upper()}_CODEC"]]


def capnp_tool(verb: list[str], schema: str, given: bytes) -> bytes:
    """Runs the capnp tool on messages of a schema file."""
    imports = ["--no-standard-import", f"--import-path={Path(os.environ['GO_ANNOTATIONS']).parent}"]
    return run([os.environ["CAPNP"], *verb, *imports, schema, "Message"], given)


def write(codec: str, updates: list[Update]) -> bytes:
    """The frames of the updates, as this codec writes them."""
    if codec == "capnp":
        return capnp_tool(["encode"], os.environ["SCHEMA"], "\n".join(map(as_text, updates)).encode())
    return run([*command(codec), "write"], "".join(json.dumps(update) + "\n" for update in updates).encode())


def read(codec: str, frames: bytes) -> list[Update]:
    """What this codec reads in the frames. Raises Unreadable."""
    if codec == "capnp":
        return [
            from_tool(value)
            for value in json_values(capnp_tool(["convert", "binary:json"], os.environ["SCHEMA"], frames).decode())
        ]
    return [json.loads(line) for line in run([*command(codec), "read"], frames).splitlines()]


def as_text(update: Update) -> str:
    """The update in the text format of the capnp tool."""
    tensors = [
        f"(name = {json.dumps(t['name'])}, dtype = {t['dtype']}, shape = {t['shape']}, byteOffset = {t['byteOffset']},"
        f" data = {as_data(pattern(t))})"
        for t in update["tensors"]
    ]
    reports = ", ".join(map(report_as_text, update.get("reports", [])))
    body = (
        f"(step = {update['step']}, final = {str(update['final']).lower()}, gradients = [{', '.join(tensors)}], reports"
        f" = [{reports}])"
    )
    return f"(type = gradientUpdate, requestId = {update['requestId']}, gradientUpdate = {body})"


def report_as_text(report: Report) -> str:
    """A shard's report in the text format of the capnp tool."""
    loss, weight = float_of(report["lossSum"]), float_of(report["weight"])
    counts = (
        f"shard = {report['shard']}, samples = {report['samples']}, lossSum = {loss!r}, batchHash ="
        f" {as_data(bytes.fromhex(report['batchHash']))}"
    )
    figures = ", ".join(
        f"(name = {json.dumps(figure['name'], ensure_ascii=False)}, value = {float_of(figure['value'])!r})"
        for figure in report["figures"]
    )
    return (
        f"({counts}, weight = {weight!r}, summed = {str(report['summed']).lower()}, stop ="
        f" {json.dumps(report['stop'], ensure_ascii=False)}, figures = [{figures}])"
    )


def as_data(data: bytes) -> str:
    """Bytes in the text format of the capnp tool, which has no empty hexadecimal literal."""
    return f'0x"{data.hex()}"' if data else '""'


def json_values(text: str) -> list[Any]:
    """The values of concatenated JSON."""
    values, decoder, at = [], json.JSONDecoder(), 0
    text = text.strip()
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return values


def from_tool(value: dict[str, Any]) -> Update:
    """The tool's JSON (64-bit numbers are text, data a list of bytes, defaults may be missing) in the form of the other
    codecs."""
    assert value["type"] == "gradientUpdate"
    update = value["gradientUpdate"]
    tensors = []
    for tensor in update.get("gradients", []):
        data = bytes(tensor.get("data", []))
        described = {
            "name": tensor.get("name", ""),
            "dtype": tensor["dtype"],
            "shape": [int(n) for n in tensor.get("shape", [])],
            "byteOffset": int(tensor.get("byteOffset", 0)),
        }
        tensors.append({**described, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    reports = [
        {
            **report_of(
                report.get("shard", 0),
                report.get("samples", 0),
                float(report.get("lossSum", 0)),
                float(report.get("weight", 0)),
                report.get("summed", False),
                report.get("stop", ""),
                [(figure.get("name", ""), float(figure.get("value", 0))) for figure in report.get("figures", [])],
            ),
            "batchHash": bytes(report.get("batchHash", [])).hex(),
        }
        for report in update.get("reports", [])
    ]
    head = {
        "requestId": int(value.get("requestId", 0)),
        "step": int(update.get("step", 0)),
        "final": update.get("final", False),
    }
    return {**head, "tensors": tensors, "reports": reports}


def tensor(
    name: str, dtype: str, shape: list[int], seed: int, offset: int = 0, length: int | None = None
) -> dict[str, Any]:
    """The description of a tensor, or of a piece of one."""
    size = ITEM_BYTES[dtype]
    for dim in shape:
        size *= dim
    return {
        "name": name,
        "dtype": dtype,
        "shape": shape,
        "byteOffset": offset,
        "length": size if length is None else length,
        "seed": seed,
    }


def report_of(
    shard: int,
    samples: int,
    loss_sum: float,
    weight: float,
    summed: bool = False,
    stop: str = "",
    figures: Sequence[tuple[str, float]] = (),
) -> Report:
    """The description of a shard's report, with its own hash. Floats are given as bits, because not every JSON reader
    preserves them."""
    floats = {"lossSum": bits_of(loss_sum), "weight": bits_of(weight)}
    logged = [{"name": name, "value": bits_of(value)} for name, value in figures]
    head = {"shard": shard, "samples": samples, "batchHash": f"{shard:064x}"}
    return {**head, **floats, "summed": summed, "stop": stop, "figures": logged}


def expected(updates: list[Update]) -> list[Update]:
    """What every reader must report of the updates."""
    digest: Callable[[dict[str, Any]], str] = lambda t: hashlib.sha256(pattern(t)).hexdigest()  # noqa: E731
    return [
        {
            "reports": [],
            **update,
            "tensors": [
                {**{k: v for k, v in t.items() if k != "seed"}, "sha256": digest(t)} for t in update["tensors"]
            ],
        }
        for update in updates
    ]


def every_dtype() -> list[str]:
    """The dtypes of the schema, without `unspecified`."""
    names = tensor_capnp.DataType.schema.enumerants  # type: ignore[attr-defined]
    return [name for name in names if name != "unspecified"]
