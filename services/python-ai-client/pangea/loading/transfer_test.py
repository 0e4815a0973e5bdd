"""A batch arrives from another process as it was sent, with the strides of its tensors, and belongs to the receiver."""

import multiprocessing
import os
from typing import Any, NamedTuple

import numpy
import pytest
import torch

from pangea.loading.canonical import batch_hash
from pangea.loading.nesting import map_tensors, settle
from pangea.loading.transfer import Packed, receive


class Pair(NamedTuple):
    x: Any
    y: Any


def sent(value: Any) -> Any:
    ours, theirs = multiprocessing.Pipe(duplex=True)
    with ours, theirs:
        Packed(value).send(theirs)
        return receive(ours)


X = torch.arange(120.0).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, "a", {"b": (2.5, None)}],
        Pair(X, {"y": X.to(torch.bfloat16), "empty": torch.empty(0, 3), "scalar": torch.tensor(3)}),
        [numpy.arange(6).reshape(2, 3), numpy.asfortranarray(numpy.ones((3, 2))), numpy.array(["a"], dtype=object)],
        X.to(memory_format=torch.channels_last),
        X.permute(3, 0, 2, 1),
        X[:, 1:, ::2, 3],
        torch.eye(3).to_sparse(),
        torch.tensor([1j, 2]),
        torch.nn.Parameter(torch.ones(2)),
        torch.ones(2, requires_grad=True),
        [torch.zeros(3, dtype=torch.uint8), torch.ones(1 << 20)],
    ],
)
def test_what_arrives_is_what_was_sent(value: Any) -> None:
    arrived = sent(value)
    assert batch_hash(arrived, (), "sha256") == batch_hash(value, (), "sha256")
    if isinstance(value, torch.Tensor):
        assert type(arrived) is type(value)
        assert arrived.requires_grad == value.requires_grad
        if value.layout is torch.strided:
            assert arrived.stride() == value.stride()
            assert arrived.data_ptr() % 64 == 0


def test_a_view_of_much_memory_sends_only_its_own() -> None:
    packed = Packed(torch.zeros(1 << 22)[1000:1010])
    assert sum(len(buffer.raw()) for buffer in packed._buffers) == 40


def test_what_a_forked_child_writes_is_not_seen() -> None:
    arrived = sent({"x": torch.zeros(4), "array": numpy.zeros(4)})
    pid = os.fork()
    if pid == 0:
        arrived["x"] += 1
        arrived["array"] += 1
        os._exit(int(arrived["x"].sum()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert arrived["x"].sum() == 0
    assert arrived["array"].sum() == 0
    arrived["x"] += 1


def test_no_descriptor_remains() -> None:
    before = len(os.listdir("/proc/self/fd"))
    kept = [sent(torch.ones(100)) for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert sum(int(tensor.sum()) for tensor in kept) == 1000


def test_memory_is_aligned_without_a_change_of_strides() -> None:
    array = numpy.zeros(1000, dtype=numpy.float32)
    start = next(start for start in range(16) if array[start:].ctypes.data % 64 != 0)
    tensor = torch.from_numpy(array[start : start + 96]).reshape(4, 6, 4).permute(2, 0, 1)
    settled = settle(tensor)
    assert settled.data_ptr() % 64 == 0
    assert settled.stride() == tensor.stride()
    assert settle(settled) is settled
    assert settle(torch.ones(1).expand(5)).stride() == (1,)
    nested = map_tensors({"a": [Pair(tensor, "text")]}, settle)
    assert nested["a"][0].x.data_ptr() % 64 == 0
    assert nested["a"][0].y == "text"
