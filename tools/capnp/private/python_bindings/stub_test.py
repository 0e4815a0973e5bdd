"""The stub of a real schema under a type checker: correct code passes, mistakes are reported."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from mypy import api

from schemas import tensor_capnp

STUB_ROOT = Path(tensor_capnp.__file__).parent.parent


def check(code: str, folder: Path) -> str:
    """The output of mypy for the code; empty if it has no complaint."""
    file = folder / "user.py"
    file.write_text("from schemas import tensor_capnp as schema\n" + textwrap.dedent(code))
    (folder / "schemas").mkdir()
    (folder / "schemas" / "__init__.py").touch()
    (folder / "schemas" / "tensor_capnp.pyi").write_bytes((STUB_ROOT / "schemas" / "tensor_capnp.pyi").read_bytes())
    arguments = [
        "--strict",
        "--no-incremental",
        f"--cache-dir={folder / 'cache'}",
        f"--python-version={sys.version_info[0]}.{sys.version_info[1]}",
        "--config-file=",
        str(file),
    ]
    text, problem, code_of_exit = api.run(["--no-error-summary", *arguments])
    assert not problem, problem
    assert bool(text) == bool(code_of_exit)
    return text


RIGHT = """
def build() -> bytes:
    message = schema.Message.new_message(requestId=3, type="trainingBatch")
    batch = message.init("trainingBatch")
    batch.features = {"dtype": "float32", "shape": [2]}
    return message.to_bytes()

def read(data: bytes) -> tuple[int, float, str]:
    with schema.Message.from_bytes(data) as message:
        if message.which() == "gradientUpdate":
            update = message.gradientUpdate
            return update.step, update.reports[0].lossSum, update.gradients[0].dtype
        return message.requestId, 0.0, message.errorReply.detail
"""


def test_correct_code_passes(tmp_path: Path) -> None:
    assert check(RIGHT, tmp_path) == ""


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("schema.Message.new_message(requestid=3)", "requestid"),
        ("schema.Message.new_message(requestId='3')", "requestId"),
        ("schema.Tensor.new_message(dtype='float31')", "dtype"),
        ("schema.Tensor.new_message().lenght", "lenght"),
        ("schema.Message.new_message().init('trainingbatch')", "init"),
        ("schema.DataType.float31", "float31"),
        ("schema.WorkRequest.new_message().step = 1.5", "float"),
    ],
)
def test_a_mistake_is_reported(code: str, named: str, tmp_path: Path) -> None:
    said = check(code, tmp_path)
    assert "error:" in said
    assert named in said


def test_the_module_agrees_with_its_stub() -> None:
    message = tensor_capnp.Message.new_message(requestId=3, type="trainingBatch")
    message.init("trainingBatch").init("features").shape = [2, 3]
    with tensor_capnp.Message.from_bytes(message.to_bytes()) as read:
        assert (read.requestId, read.which(), list(read.trainingBatch.features.shape)) == (3, "trainingBatch", [2, 3])
    assert tensor_capnp.protocolVersion == 3
